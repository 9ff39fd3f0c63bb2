using System.Text;
using System.Text.Json;
using Cache.Metrics;

namespace Cache.Producer.Simulator;

/// <summary>Makes rows that each break one rule of the format; the key is that of the well-formed row.</summary>
/// <param name="random">Draws the rule.</param>
internal sealed class MalformedRows(Random random)
{
    // A time in the year 2999, in milliseconds: beyond what the service takes for a window that can have begun.
    private const long FarFuture = 32_472_144_000_000;

    /// <summary>Makes a row.</summary>
    /// <param name="type">Its metric type.</param>
    /// <param name="topic">Its topic.</param>
    /// <param name="dimension">The values of the type's dimension fields.</param>
    /// <param name="window">The start of its window, in milliseconds since 1970 UTC.</param>
    /// <param name="length">The length of its window, in milliseconds.</param>
    public Row Next(MetricType type, string topic, IReadOnlyList<string> dimension, long window, long length)
    {
        var measure = type.Measures[0];
        var time = Number(window);
        var quoted = Quoted(dimension[0]);

        // The first dimension field and the first measure are those that break a rule.
        string Object(string? time, string? first, string value) =>
            "{" + (time is null ? "" : $"{Quoted(type.TimeField)}:{time},")
            + (first is null ? "" : $"{Quoted(type.DimensionFields[0])}:{first},")
            + string.Concat(type.DimensionFields.Zip(dimension).Skip(1).Select(other => $"{Quoted(other.First)}:{Quoted(other.Second)},"))
            + $"{Quoted(measure.Field)}:{value}" + "}";

        var text = random.Next(type.WindowSeconds is null ? 20 : 21) switch
        {
            0 => "",
            1 => "not json",
            2 => Object(time, quoted, "1")[..^1],
            3 => $"[{Object(time, quoted, "1")}]",
            4 => Choose("null", "42", "\"row\"", "true"),
            5 => Object(null, quoted, "1"),
            6 => Object(Choose("\"yesterday\"", "\"2025-13-45 00:00:00\"", "true", "null", "\"\"", "{}"), quoted, "1"),
            7 => Object(Choose(Number(FarFuture), "\"2999-01-01T00:00:00Z\"", "\"2999-01-01 00:00:00.000\""), quoted, "1"),
            8 => Object(time, null, "1"),
            9 => Object(time, type.DimensionFields.Count == 1 ? "\"\"" : Choose("\"\"", Quoted($"a{type.Separator}b")), "1"),
            10 => Object(time, $"\"{new string(Choose("x", "é")[0], SimulatorOptions.MaxDimensionBytes + 1)}\"", "1"),
            11 => Object(time, $"\"page{Choose("\\u0007", "\\n", "\\u0000", "\\u007f")}view\"", "1"),
            12 => Object(time, Choose("7", "null", "[\"a\"]"), "1"),
            13 => Object(time, quoted, Choose("true", "{}", "[1]", "\"many\"")),
            14 => Object(time, quoted, "\"12\""),
            15 => Object(time, quoted, measure.IsSigned ? Choose("\"-1\"", "[-1]") : Choose("-1", "-9223372036854775808")),
            16 => Object(time, quoted, "1e400"),
            17 => Object(time, quoted, Choose("NaN", "\"NaN\"", "Infinity")),
            18 => Object(time, quoted, measure.Kind == MeasureKind.Count ? "9223372036854775808" : measure.IsSigned ? "-1e400" : "-0.5"),
            20 => Object($"{time},{Quoted(type.EndField)}:{Number(window + (2 * length))}", quoted, "1"),
            // Over 1 MiB, but otherwise valid. Rare, because each weighs as much as ten thousand others.
            _ => random.Next(10) == 0
                ? Object(time, quoted, $"1,\"padding\":\"{new string('x', 1 << 20)}\"")
                : Object(time, "\"\ufffd\"", "1"),
        };

        var bytes = Encoding.UTF8.GetBytes(text);
        if (text.Contains('\ufffd', StringComparison.Ordinal))
        {
            // A placeholder for what no string can hold: bytes that are not UTF-8.
            var at = bytes.AsSpan().IndexOf("\ufffd"u8);
            bytes[at] = bytes[at + 1] = bytes[at + 2] = 0xff;
        }

        return new(topic, string.Join(type.Separator, dimension), bytes, RowTraits.Malformed);

        string Number(long epoch) => FormattableString.Invariant($"{RowWriter.Number(epoch, type.TimeUnit)}");
    }

    private static string Quoted(string text) => $"\"{JsonEncodedText.Encode(text, RowWriter.Encoder)}\"";

    private string Choose(params string[] items) => items[random.Next(items.Length)];
}
