using Cache.Metrics;
using Microsoft.Extensions.Hosting;

namespace Cache.Producer.Simulator;

/// <summary>Reads and checks the keys about a file of rows.</summary>
/// <param name="Path">The file; null for made-up rows.</param>
/// <param name="Topic">The topic of rows that do not name one; null if their fields tell.</param>
/// <param name="Loop">Whether it is sent again and again.</param>
/// <param name="Shift">Whether its times are moved.</param>
internal sealed record FileSettings(string? Path, string? Topic, bool Loop, bool Shift)
{
    private const string FileKey = "file";

    /// <summary>Reads the keys, and adds one sentence per error.</summary>
    public static FileSettings Read(FlatKeys keys)
    {
        var path = keys.Text(FileKey, "") is { Length: > 0 } given ? given : null;
        if (path is not (null or SimulatorOptions.StandardInput) && !File.Exists(path))
        {
            keys.Refuse(FileKey, path, "it must be a file that exists, or - for standard input.");
        }

        var topic = keys.Text("topic", "") is { Length: > 0 } name ? name : null;
        if (topic is not null && !TopicPattern.IsName(topic))
        {
            keys.Refuse("topic", topic, "it must be a topic's name: 1 to 249 letters, digits, dots, underscores or hyphens.");
        }

        var settings = new FileSettings(path, topic, keys.Flag("loop"), keys.Flag("shift"));
        if (path is null)
        {
            (string Key, bool IsGiven)[] others = [("topic", topic is not null), ("loop", settings.Loop), ("shift", settings.Shift)];
            keys.Errors.AddRange(others.Where(other => other.IsGiven).Select(other => $"{other.Key} is for the rows of a file; name one with {FileKey}."));
        }
        else if (path == SimulatorOptions.StandardInput && (settings.Loop || settings.Shift))
        {
            keys.Errors.Add($"{(settings.Loop ? "loop" : "shift")}: standard input can be read only once; write it to a file first.");
        }

        return settings;
    }

    /// <summary>Adds one sentence per option that is about made-up rows, if there is a file.</summary>
    public static void CheckOthers(FlatKeys keys, SimulatorOptions options)
    {
        (string Key, bool IsGiven)[] others =
        [
            ("seed", options.Seed is not null), ("start", options.Start is not null), ("sessions", options.Sessions), ("late_share", options.LateShare > 0),
            ("repeat_share", options.RepeatShare > 0), ("out_of_order_share", options.OutOfOrderShare > 0), ("malformed_share", options.MalformedShare > 0),
        ];
        if (options.File is not null)
        {
            keys.Errors.AddRange(others.Where(other => other.IsGiven).Select(other => $"{other.Key} is for made-up rows, not for those of a file."));
        }
    }
}
