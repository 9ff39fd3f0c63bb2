using System.Reflection;
using System.Text.RegularExpressions;

namespace Cache.Tests.Readme;

/// <summary>Files and tests named in the docs exist, and so does what they link to.</summary>
public sealed partial class NamesInTheDocsTests
{
    public static TheoryData<string> Pages =>
    [
        "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "Cache.Client/README.md",
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

    [Theory]
    [MemberData(nameof(Pages))]
    public void Links_LeadToAFile_AndToAHeadingInIt(string page)
    {
        var text = File.ReadAllText(Repository.File(page));
        var folder = Path.GetDirectoryName(Repository.File(page))!;
        Assert.DoesNotContain(Link().Matches(text).Select(link => link.Groups[1].Value), link => !link.Contains("://", StringComparison.Ordinal) && !Exists(link));

        bool Exists(string link)
        {
            var parts = link.Split('#');
            var target = parts[0].Length == 0 ? Repository.File(page) : Path.GetFullPath(Path.Combine(folder, parts[0]));
            return parts.Length == 1 ? Path.Exists(target) : File.Exists(target) && Headings(File.ReadAllText(target)).Contains(parts[1]);
        }
    }

    /// <summary>The names by which GitHub links to the headings of a page.</summary>
    private static IEnumerable<string> Headings(string page) =>
        Heading().Matches(Fence().Replace(page, "")).Select(heading => NoAnchor().Replace(heading.Groups[1].Value.Trim().ToLowerInvariant(), "").Replace(' ', '-'));

    [GeneratedRegex(@"(?:\]\(|src(?:set)?="")([^)\s""]+)")]
    private static partial Regex Link();

    [GeneratedRegex(@"^#+ (.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"^```.*?^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Fence();

    [GeneratedRegex(@"[^\w\- ]")]
    private static partial Regex NoAnchor();

    [GeneratedRegex(@"`((?:[A-Z][\w.]*/)*[A-Z]\w+\.cs)`")]
    private static partial Regex SourceFile();

    [GeneratedRegex(@"`([A-Z]\w+Tests)(?:\.(\w+))?`")]
    private static partial Regex Test();
}
