using System.Reflection;
using System.Text.RegularExpressions;

namespace Cache.Tests.Readme;

/// <summary>Files and tests named in the docs exist.</summary>
public sealed partial class NamesInTheDocsTests
{
    public static TheoryData<string> Pages =>
    [
        "README.md", "CONTRIBUTING.md", "SECURITY.md",
        .. Directory.EnumerateFiles(Repository.File("docs"), "*.md", SearchOption.AllDirectories).Select(page => Path.GetRelativePath(Repository.File(), page)),
    ];

    [Theory]
    [MemberData(nameof(Pages))]
    public void FilesAndTests_ThatADocsPageNames_Exist(string page)
    {
        var text = File.ReadAllText(Repository.File(page));
        var files = Directory.EnumerateDirectories(Repository.File(), "Cache.*").SelectMany(folder => Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
            .Select(file => $"/{Path.GetRelativePath(Repository.File(), file).Replace('\\', '/')}").ToList();
        Assert.DoesNotContain(
            SourceFile().Matches(text).Select(name => name.Groups[1].Value).Distinct(),
            name => !files.Exists(file => file.EndsWith($"/{name}", StringComparison.Ordinal)));

        var types = Assembly.GetExecutingAssembly().GetTypes().ToLookup(type => type.Name);
        Assert.Empty(Test().Matches(text)
            .Where(test => !types[test.Groups[1].Value].Any(type => !test.Groups[2].Success || type.GetMember(test.Groups[2].Value).Length > 0))
            .Select(test => test.Value));
    }

    [GeneratedRegex(@"`((?:[A-Z][\w.]*/)*[A-Z]\w+\.cs)`")]
    private static partial Regex SourceFile();

    [GeneratedRegex(@"`([A-Z]\w+Tests)(?:\.(\w+))?`")]
    private static partial Regex Test();
}
