using System.Reflection;

namespace Cache.Service.Telemetry;

/// <summary>Which build this is.</summary>
public static class BuildInfo
{
    /// <summary>The version, and the commit where the build knew it: <c>0.9.0+1f2e3d…</c>.</summary>
    public static string Version { get; } =
        typeof(BuildInfo).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
}
