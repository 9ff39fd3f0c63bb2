using System.Text.RegularExpressions;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Cache.Tests.GitHub;

/// <summary>What a workflow has to have here, beyond what GitHub asks of it (.ci/actionlint).</summary>
internal static partial class WorkflowCheck
{
    /// <summary>What is wrong with a workflow.</summary>
    public static List<string> Problems(string text)
    {
        try
        {
            var workflow = Parse(text);
            return
            [
                .. Lacks(workflow, "the workflow", "name", "on", "permissions", "jobs"),
                .. Entries(workflow, "jobs").SelectMany(job => JobProblems(job.Key, (YamlMappingNode)job.Value)),
                .. CommandCheck.Missing(text),
            ];
        }
        catch (YamlException exception)
        {
            return [exception.Message];
        }
    }

    /// <summary>Reads a document whose root is a mapping.</summary>
    /// <exception cref="YamlException">It is no such document.</exception>
    public static YamlMappingNode Parse(string text)
    {
        var stream = new YamlStream();
        stream.Load(new StringReader(text));
        return stream.Documents is [{ RootNode: YamlMappingNode root }] ? root : throw new YamlException("The file is not one mapping.");
    }

    /// <summary>The values of a sequence; none where the key is not there.</summary>
    public static IEnumerable<YamlNode> Items(YamlMappingNode parent, string key) =>
        parent.Children.TryGetValue(key, out var value) && value is YamlSequenceNode sequence ? sequence : [];

    /// <summary>The keys that a mapping lacks.</summary>
    public static IEnumerable<string> Lacks(YamlMappingNode mapping, string name, params string[] keys) =>
        keys.Where(key => !mapping.Children.ContainsKey(key)).Select(key => $"{name} has no {key}");

    private static IEnumerable<KeyValuePair<string, YamlNode>> Entries(YamlMappingNode parent, string key) =>
        parent.Children.TryGetValue(key, out var value) && value is YamlMappingNode mapping
            ? mapping.Children.Select(child => KeyValuePair.Create(child.Key.ToString(), child.Value))
            : [];

    private static IEnumerable<string> JobProblems(string name, YamlMappingNode job)
    {
        var steps = Items(job, "steps").Cast<YamlMappingNode>().Select((step, at) => (Name: $"step {at + 1} of {name}", Step: step)).ToList();
        return Lacks(job, name, "runs-on", "timeout-minutes", "steps").Concat(steps.SelectMany(step => StepProblems(step.Name, step.Step)));
    }

    private static IEnumerable<string> StepProblems(string name, YamlMappingNode step)
    {
        if (step.Children.ContainsKey("uses") == step.Children.ContainsKey("run"))
        {
            yield return $"{name} has to have either uses or run";
        }

        if (step.Children.TryGetValue("uses", out var action) && !Pinned().IsMatch(action.ToString()))
        {
            yield return $"{name} uses {action}, which names no version";
        }
    }

    [GeneratedRegex(@"^[\w.-]+(/[\w.-]+)+@(v\d+(\.\d+)*|[0-9a-f]{40})$")]
    private static partial Regex Pinned();
}
