using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// librdkafka as Confluent.Kafka has loaded it. The machine decides which build in the package that is (librdkafka, centos8-librdkafka,
/// alpine-librdkafka), so the library is searched among those loaded rather than loaded by name.
/// </summary>
public static class KafkaLibrary
{
    /// <summary>The name of the library, to declare functions of it.</summary>
    public const string Name = "librdkafka";

    private static readonly Lazy<nint> Loaded = new(Find);

    /// <summary>Its handle, for <see cref="NativeLibrary"/>.</summary>
    /// <exception cref="DllNotFoundException">It cannot be loaded.</exception>
    public static nint Handle => Loaded.Value;

    private static nint Find()
    {
        _ = Confluent.Kafka.Library.Version; // loads it
        using var process = Process.GetCurrentProcess();
        foreach (ProcessModule module in process.Modules)
        {
            var file = Path.GetFileName(module.FileName);
            if (file.Contains(Name, StringComparison.OrdinalIgnoreCase)
                && !file.Contains("librdkafkacpp", StringComparison.OrdinalIgnoreCase)
                && NativeLibrary.TryLoad(module.FileName, out var handle))
            {
                return handle;
            }
        }

        // macOS lists no modules, but there Confluent.Kafka loads the library by its plain name, which yields the same module.
        return NativeLibrary.Load(Name, typeof(Confluent.Kafka.Library).Assembly, DllImportSearchPath.AssemblyDirectory);
    }
}
