using System.Reflection;

namespace Cache.Service.Telemetry;

/// <summary>Identifies the build.</summary>
public static class BuildInfo
{
    /// <summary>The version, with the commit if the build knew it: <c>0.9.0+1f2e3d…</c>.</summary>
    public static string Version { get; } =
        typeof(BuildInfo).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
}
