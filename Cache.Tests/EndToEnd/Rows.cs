using System.Globalization;
using System.Text;
using Confluent.Kafka;

namespace Cache.Tests.EndToEnd;

/// <summary>Rows as the stream processor sends them.</summary>
internal static class Rows
{
    public const string Events = "event_metrics";
    public const string Performance = "performance_metrics";
    public const string Sessions = "session_metrics";

    /// <summary>The start of a window, some minutes after a fixed time in the past.</summary>
    public static long Window(int minute) => 1_710_000_000_000 + (minute * 60_000L);

    /// <summary>The start of a window of a minute, counted from the last one that has ended: 0 is that one, -1 the one before.</summary>
    public static long Recent(int minute) => (DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 60_000 * 60_000) + ((minute - 1) * 60_000L);

    public static string Event(long window, string type, long? count = null, long? users = null) =>
        $$"""{"window_start":{{window}},"event_type":"{{type}}"{{Field("event_count", count)}}{{Field("user_count", users)}}}""";

    public static string Load(long window, string device, double? average = null, double? p95 = null) =>
        $$"""{"window_start":{{window}},"device_category":"{{device}}"{{Field("avg_load_time", average)}}{{Field("p95_load_time", p95)}}}""";

    public static string Session(string id, long end, string? user = null, string? device = null) =>
        $$"""{"session_id":"{{id}}","end_time":{{end}}{{Text("user_id", user)}}{{Text("device_category", device)}}}""";

    public static Message<byte[]?, byte[]?> Message(string value, string? key = null) =>
        new() { Key = key is null ? null : Encoding.UTF8.GetBytes(key), Value = Encoding.UTF8.GetBytes(value) };

    private static string Text(string name, string? value) => value is null ? "" : $",\"{name}\":\"{value}\"";

    private static string Field(string name, IFormattable? value) =>
        value is null ? "" : $",\"{name}\":{value.ToString(null, CultureInfo.InvariantCulture)}";
}
