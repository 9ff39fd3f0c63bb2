using System.Reflection;
using System.Text.RegularExpressions;

namespace Cache.Tests.GitHub;

/// <summary>Looks whether what a text names is there: files, projects, tests, benchmarks, variables.</summary>
internal static partial class CommandCheck
{
    private static readonly Lazy<string> Sources = new(() => string.Concat(
        Directory.GetFiles(Repository.File("Cache.Tests"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal))
            .Select(File.ReadAllText)));

    private static readonly Lazy<string> Benchmarks = new(() => File.ReadAllText(Repository.File("Cache.Benchmarks", "Program.cs")));

    /// <summary>What the text names and the repository does not have.</summary>
    public static IEnumerable<string> Missing(string text)
    {
        foreach (var file in Values(NamedFile(), text).Where(file => !Path.Exists(Repository.File(file))))
        {
            yield return $"no file {file}";
        }

        foreach (var project in Values(Project(), text).Where(project => !File.Exists(Repository.File(project, $"{project}.csproj"))))
        {
            yield return $"no project {project}";
        }

        foreach (var verb in Values(Benchmark(), text).Where(verb => verb != "all" && !Benchmarks.Value.Contains($"[\"{verb}\"]", StringComparison.Ordinal)))
        {
            yield return $"no benchmark {verb}";
        }

        foreach (var term in Values(Filter(), text).SelectMany(filter => filter.Split('&', '|')).Where(term => !HasTest(term.Trim('(', ')'))))
        {
            yield return $"no test {term}";
        }

        foreach (var variable in Values(Variable(), text).Where(variable => !Sources.Value.Contains($"\"{variable}\"", StringComparison.Ordinal)))
        {
            yield return $"no test reads {variable}";
        }
    }

    // Category=Long, FullyQualifiedName~Simulation, or a word, which means the latter.
    private static bool HasTest(string term)
    {
        var parts = Comparison().Split(term);
        return parts is ["Category", var category]
            ? Tests().Any(test => Categories(test).Concat(Categories(test.DeclaringType!)).Contains(category))
            : Tests().Any(test => $"{test.DeclaringType!.FullName}.{test.Name}".Contains(parts[^1], StringComparison.Ordinal));
    }

    private static IEnumerable<MethodInfo> Tests() =>
        typeof(CommandCheck).Assembly.GetTypes().SelectMany(type => type.GetMethods(BindingFlags.Instance | BindingFlags.Public | BindingFlags.DeclaredOnly))
            .Where(method => method.IsDefined(typeof(FactAttribute)));

    private static IEnumerable<string?> Categories(MemberInfo member) =>
        member.GetCustomAttributes<TraitAttribute>().Where(trait => trait.Name == "Category").Select(trait => trait.Value);

    private static IEnumerable<string> Values(Regex regex, string text) => regex.Matches(text).Select(match => match.Groups[1].Value).Distinct();

    [GeneratedRegex(@"(?<![\w/])(\.ci/[\w/-]+(?:\.\w+)?|(?:\.github|docs|Cache\.[\w.]+)/[\w/-]+\.\w+)")]
    private static partial Regex NamedFile();

    [GeneratedRegex(@"(?:--project |dotnet build )(Cache\.[\w.]*\w)")]
    private static partial Regex Project();

    [GeneratedRegex(@"Cache\.Benchmarks -- (\w+)")]
    private static partial Regex Benchmark();

    [GeneratedRegex("""--filter "?([^"\s`]+)""")]
    private static partial Regex Filter();

    [GeneratedRegex("!?[=~]")]
    private static partial Regex Comparison();

    [GeneratedRegex(@"\b(CACHE_[A-Z_]*[A-Z])\b")]
    private static partial Regex Variable();
}
