using System.IO.Compression;
using System.Reflection;
using System.Xml.Linq;

namespace Cache.Tests.Client;

/// <summary>The NuGet package of the client, as CI packs it.</summary>
public sealed class PackageTests
{
    [Fact]
    public async Task Package_HasTheLibraryItsDocsAndSymbols_AndDependsOnWhatItNeedsOnly()
    {
        var folder = Directory.CreateTempSubdirectory("package-");
        try
        {
            await PackAsync(folder.FullName);
            var version = typeof(Cache.Client.CacheClient).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+')[0];
            await using var package = await ZipFile.OpenReadAsync(Path.Combine(folder.FullName, $"Cache.Client.{version}.nupkg"));
            await using var symbols = await ZipFile.OpenReadAsync(Path.Combine(folder.FullName, $"Cache.Client.{version}.snupkg"));

            Assert.Equal(["Cache.Client.dll", "Cache.Client.xml"], Files(package, "lib/net10.0/"));
            Assert.Equal(["Cache.Client.pdb"], Files(symbols, "lib/net10.0/"));
            Assert.Equal(await File.ReadAllTextAsync(Repository.File("Cache.Client", "README.md")), await ReadAsync(package, "README.md"));

            // Without a build in between, it is the library that the tests have run.
            await using var packed = await package.GetEntry("lib/net10.0/Cache.Client.dll")!.OpenAsync();
            using var library = new MemoryStream();
            await packed.CopyToAsync(library);
            Assert.Equal(await File.ReadAllBytesAsync(typeof(Cache.Client.CacheClient).Assembly.Location), library.ToArray());

            var metadata = XDocument.Parse(await ReadAsync(package, "Cache.Client.nuspec")).Root!.Elements().Single();
            Assert.Equal(("Cache.Client", version, "MIT", "README.md"), (Value("id"), Value("version"), Value("license"), Value("readme")));
            Assert.StartsWith("MIT License", await File.ReadAllTextAsync(Repository.File("LICENSE")), StringComparison.Ordinal);
            Assert.NotEmpty(Value("description"));
            var dependencies = metadata.Descendants().Where(element => element.Name.LocalName == "dependency").Select(element => element.Attribute("id")!.Value);
            Assert.Equal(
                ["Microsoft.Extensions.Diagnostics.HealthChecks", "Microsoft.Extensions.Http.Resilience", "Microsoft.Extensions.ServiceDiscovery", "OpenTelemetry.Extensions.Hosting"],
                dependencies.Order(StringComparer.Ordinal));

            // A program that uses it does not have to be an ASP.NET one.
            Assert.DoesNotContain(metadata.Descendants(), element => element.Name.LocalName == "frameworkReference");

            string Value(string name) => metadata.Elements().Single(element => element.Name.LocalName == name).Value;
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static async Task PackAsync(string folder)
    {
        var configuration = typeof(PackageTests).Assembly.GetCustomAttribute<AssemblyConfigurationAttribute>()!.Configuration;
        using var pack = ChildProcess.Start(
            "dotnet", "pack", Repository.File("Cache.Client"), "--no-build", "-c", configuration, "-o", folder, "--disable-build-servers", "-nodeReuse:false");
        var (output, errors) = (pack.StandardOutput.ReadToEndAsync(), pack.StandardError.ReadToEndAsync());
        await pack.WaitForExitAsync();
        Assert.True(pack.ExitCode == 0, await output + await errors);
    }

    private static IEnumerable<string> Files(ZipArchive archive, string folder) =>
        archive.Entries.Where(entry => entry.FullName.StartsWith(folder, StringComparison.Ordinal)).Select(entry => entry.Name).Order(StringComparer.Ordinal);

    private static async Task<string> ReadAsync(ZipArchive archive, string name)
    {
        using var reader = new StreamReader(await archive.GetEntry(name)!.OpenAsync());
        return await reader.ReadToEndAsync();
    }
}
