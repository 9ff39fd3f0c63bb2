using System.Globalization;
using System.Text.RegularExpressions;
using YamlDotNet.RepresentationModel;

namespace Cache.Tests.Deploy;

/// <summary>Reads the files of <c>deploy/</c>, and what the docs say of them.</summary>
internal static partial class DeployFiles
{
    /// <summary>The version of an image that is built from this repository.</summary>
    public static string Version => typeof(Service.Program).Assembly.GetName().Version!.ToString(3);

    /// <summary>The grace period that the docs advise.</summary>
    public static string Grace => GracePeriod().Match(Docs).Groups[1].Value;

    public static string Docs => File.ReadAllText(Repository.File("docs", "deploy.md"));

    public static string Path(params string[] path) => Repository.File(["deploy", .. path]);

    public static string Text(params string[] path) => File.ReadAllText(Path(path));

    /// <summary>The documents of a YAML file.</summary>
    public static List<YamlNode> Documents(string text)
    {
        var stream = new YamlStream();
        stream.Load(new StringReader(text));
        return [.. stream.Documents.Select(document => document.RootNode)];
    }

    /// <summary>The node at a path such as <c>spec/ports/0/port</c>; null if there is none.</summary>
    public static YamlNode? Find(this YamlNode? node, string path)
    {
        foreach (var part in path.Split('/'))
        {
            node = node switch
            {
                YamlMappingNode mapping => mapping.Children.TryGetValue(part, out var child) ? child : null,
                YamlSequenceNode list when int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var at) && at < list.Children.Count => list[at],
                _ => null,
            };
        }

        return node;
    }

    /// <summary>The text at a path; empty if there is none.</summary>
    public static string At(this YamlNode? node, string path) => node.Find(path) is YamlScalarNode { Value: { } value } ? value : "";

    /// <summary>The items of the list at a path; none if there is none.</summary>
    public static IEnumerable<YamlNode> Items(this YamlNode? node, string path) => node.Find(path) is YamlSequenceNode list ? list : [];

    /// <summary>The entries of the mapping at a path; none if there is none.</summary>
    public static IEnumerable<KeyValuePair<string, YamlNode>> Entries(this YamlNode? node, string path) =>
        node.Find(path) is YamlMappingNode mapping ? mapping.Children.Select(entry => KeyValuePair.Create(entry.Key.ToString(), entry.Value)) : [];

    /// <summary>The lines <c>name=value</c> of an environment file.</summary>
    public static Dictionary<string, string> Variables(string text) =>
        text.Split('\n').Where(line => line.Contains('=', StringComparison.Ordinal) && !line.StartsWith('#'))
            .Select(line => line.Split('=', 2)).ToDictionary(pair => pair[0], pair => pair[1]);

    /// <summary>Whether an image names an exact version.</summary>
    public static bool IsPinned(string image) => Pinned().IsMatch(image);

    /// <summary>
    /// Whether large answers and slow streams, with what they may hold at most, leave half of the memory to everything else.
    /// </summary>
    /// <param name="service">The service.</param>
    /// <param name="limit">The memory limit, with its unit <c>M</c> or <c>Mi</c>.</param>
    public static bool FitsInto(DeployedService service, string limit) =>
        2 * (service.Options.HttpAnswersMaxMb + service.Options.StreamUnsentMaxMb) <= int.Parse(limit.TrimEnd('i', 'M'), CultureInfo.InvariantCulture);

    [GeneratedRegex(@"\*\*(\d+) s\*\* leave room")]
    private static partial Regex GracePeriod();

    [GeneratedRegex(@"^[a-z][\w./-]+:v?\d+\.\d+\.\d+(-[a-z]+)?$")]
    private static partial Regex Pinned();
}
