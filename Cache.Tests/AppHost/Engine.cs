using System.ComponentModel;
using Cache.AppHost;

namespace Cache.Tests.AppHost;

/// <summary>The container engine of this machine and its images: tests do not pull any.</summary>
internal static class Engine
{
    /// <summary>The image that AddKafka asks for.</summary>
    public const string BrokerImage = "docker.io/confluentinc/confluent-local:8.2.0";

    /// <summary>The image that AddRedis asks for.</summary>
    public const string RedisImage = "docker.io/library/redis:8.6";

    // Asked once, and more patiently than by a person who starts the stack: the machine may be busy, and CI requires the engine.
    private static readonly Lazy<string?> Answering = new(() => new[] { "docker", "podman" }.Where(engine => !Requirement.IsHidden(engine))
        .Select(engine => ContainerEngine.Find(engine, TimeSpan.FromSeconds(30))).FirstOrDefault(found => found is not null));

    /// <summary>Skips the test if no engine answers, or if it lacks an image.</summary>
    /// <param name="image">The image.</param>
    /// <param name="name">What the environment variables of the tests call it.</param>
    public static void Require(string image, string name)
    {
        // A docker executable is not enough: an engine has to answer.
        var engine = Answering.Value;
        Requirement.Ask(engine is not null, "no container engine answers (docker info, podman info)", name);
        Requirement.Ask(Has(engine!, image), $"{engine} does not have the image {image}, and tests pull none ({engine} pull {image})", name);
    }

    private static bool Has(string engine, string image)
    {
        try
        {
            using var process = ChildProcess.Start(engine, "image", "inspect", image);
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            return process.WaitForExit(TimeSpan.FromSeconds(20)) && process.ExitCode == 0;
        }
        catch (Win32Exception)
        {
            return false;
        }
    }
}
