using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Cache.Tests.EndToEnd;

/// <summary>A row of the mixed file, and its expected outcome.</summary>
/// <param name="Topic">Its topic.</param>
/// <param name="Partition">Its partition, always the same one for a dimension.</param>
/// <param name="Value">Its bytes; null for a tombstone.</param>
/// <param name="Reason">Why it must be rejected; null for a good row and for a tombstone.</param>
/// <param name="Window">A good row's window.</param>
/// <param name="Fields">A good row's fields in Redis, with their values.</param>
internal sealed record MixedRow(
    string Topic, int Partition, byte[]? Value, string? Reason, long Window = 0, IReadOnlyList<(string Name, string Value)>? Fields = null);

/// <summary>
/// Makes rows in every format, good and bad. A row's outcome follows from how it was made, not from decoding it: the service's
/// decoder is not involved.
/// </summary>
internal sealed class MixedRows(int seed)
{
    private const int Partitions = 3;

    private static readonly string[] Dimensions =
    [
        "page_view", "click", "a", "añb", "日本語", "🦊 fox", "with.dot", "with \"quotes\"", "back\\slash", " ", "count", "\u00A0", "ß", "e\u0301",
        new string('x', 128), string.Concat(Enumerable.Repeat("é", 64)), "null", "0", "ÿ", "\uFFFD",
    ];

    private readonly Random _random = new(seed);

    /// <summary>Makes rows; the first ones cover every kind of bad row.</summary>
    public IEnumerable<MixedRow> Make(int count)
    {
        var kinds = BadKinds().ToList();
        for (var n = 0; n < count; n++)
        {
            yield return n < kinds.Count * 2 ? Bad(kinds[n / 2], n % 2 == 0)
                : n == kinds.Count * 2 ? TooLarge()
                : _random.Next(10) switch
                {
                    0 => new MixedRow(Topic(true), _random.Next(Partitions), null, null),
                    < 3 => Bad(kinds[_random.Next(kinds.Count)], _random.Next(2) == 0),
                    _ => Good(),
                };
        }
    }

    private static string Topic(bool isEvent) => isEvent ? Rows.Events : Rows.Performance;

    private MixedRow Good()
    {
        var isEvent = _random.Next(2) == 0;
        var window = 1_735_689_600_000 + (_random.Next(100) * 60_000L) + (_random.Next(4) == 0 ? _random.Next(1000) : 0);
        var index = _random.Next(Dimensions.Length);
        var dimension = Dimensions[index];
        var measures = _random.Next(4) switch { 0 => (true, false), 1 => (false, true), _ => (true, true) };
        var fields = new List<(string, string)>();
        var properties = new List<string>
        {
            $"\"window_start\":{Time(window)}",
            $"\"{(isEvent ? "event_type" : "device_category")}\":{Text(dimension)}",
        };
        Measure(measures.Item1, isEvent ? "event_count" : "avg_load_time", isEvent ? ".count" : ".avg_load_time");
        Measure(measures.Item2, isEvent ? "user_count" : "p95_load_time", isEvent ? ".users" : ".p95_load_time");
        properties.AddRange(Unknown());
        Shuffle(properties);

        // The last of two properties with the same name wins, whatever the first one is.
        if (_random.Next(10) == 0)
        {
            properties.Insert(0, _random.Next(3) switch
            {
                0 => "\"window_start\":\"soon\"",
                1 => isEvent ? "\"event_type\":7" : "\"device_category\":[]",
                _ => "\"window_start\":99999999999999",
            });
        }

        var space = _random.Next(5) == 0 ? " \r\n\t" : "";
        var json = $"{space}{{{space}{string.Join($"{space},{space}", properties)}{space}}}{space}";
        byte[] frame = _random.Next(12) switch { 0 => [0, 0, 0, 0, 7], 1 => [0xEF, 0xBB, 0xBF], 2 => [0, 1, 2, 3, 4, 0xEF, 0xBB, 0xBF], _ => [] };
        return new(Topic(isEvent), index % Partitions, [.. frame, .. Encoding.UTF8.GetBytes(json)], null, window, fields);

        void Measure(bool there, string property, string suffix)
        {
            if (!there)
            {
                if (_random.Next(4) == 0)
                {
                    properties.Add($"\"{property}\":null");
                }

                return;
            }

            var (json, stored) = isEvent ? Whole() : Fraction();
            properties.Add($"\"{property}\":{json}");
            fields.Add((dimension + suffix, stored));
        }
    }

    private (string Json, string Stored) Whole()
    {
        var number = _random.Next(6) switch { 0 => 0, 1 => long.MaxValue, 2 => _random.NextInt64(1L << 60), _ => _random.Next(10_000) };
        var stored = number.ToString(CultureInfo.InvariantCulture);
        return _random.Next(8) switch
        {
            0 when number < 1L << 50 => ($"{stored}.0", stored),
            1 when number < 10_000 => ($"{stored}e2", number == 0 ? "0" : $"{stored}00"),
            _ => (stored, stored),
        };
    }

    private (string Json, string Stored) Fraction() => _random.Next(6) switch
    {
        0 => ("0", "0"),
        1 => ("1e-7", "1E-07"),
        2 => ("1.7976931348623157e308", "1.7976931348623157E+308"),
        3 => ("0.1000", "0.1"),
        4 => ("12.50E1", "125"),
        _ when Math.Round(_random.NextDouble() * 5000, 3) is var number =>
            (number.ToString(CultureInfo.InvariantCulture), number.ToString(CultureInfo.InvariantCulture)),
        _ => throw new InvalidOperationException(),
    };

    /// <summary>A time in one of the formats.</summary>
    private string Time(long window)
    {
        var time = DateTimeOffset.FromUnixTimeMilliseconds(window);
        var fraction = window % 1000;
        var digits = fraction == 0
            ? _random.Next(3) switch { 0 => "", 1 => ".0", _ => ".000000000" }
            : $".{fraction:D3}{(_random.Next(2) == 0 ? "" : "999")}";
        return _random.Next(8) switch
        {
            5 => $"\"{time:yyyy-MM-ddTHH:mm:ss}{digits.Replace('.', ',')}z\"".Replace('T', 't'),
            6 => $"\"{time:yyyy-MM-dd HH:mm:ss}{digits} +0000\"",
            7 => $"\"{time.ToOffset(TimeSpan.FromMinutes(-270)):yyyy-MM-ddTHH:mm:ss}{digits}-0430\"",
            0 => window.ToString(CultureInfo.InvariantCulture),
            1 => $"\"{time:yyyy-MM-ddTHH:mm:ss}{digits}Z\"",
            2 => $"\"{time.ToOffset(TimeSpan.FromMinutes(330)):yyyy-MM-ddTHH:mm:ss}{digits}+05:30\"",
            3 => $"\"{time:yyyy-MM-dd HH:mm:ss}{digits}Z\"",
            _ => $"\"{time:yyyy-MM-dd HH:mm:ss}{digits}\"",
        };
    }

    /// <summary>A JSON string, escaped in one of the valid ways.</summary>
    private string Text(string text)
    {
        if (_random.Next(3) != 0)
        {
            return $"\"{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"";
        }

        return _random.Next(2) == 0
            ? $"\"{JsonEncodedText.Encode(text)}\""
            : $"\"{string.Concat(text.Select(c => $"\\u{(int)c:x4}"))}\"";
    }

    private IEnumerable<string> Unknown()
    {
        string[] junk =
        [
            "\"window_end\":1735689660000", "\"x\":null", "\"y\":[[[],{}],\"window_start\",-1e400]", "\"nested\":{\"window_start\":\"no\",\"event_count\":-1}",
            $"\"deep\":{new string('[', 500)}{new string(']', 500)}", "\"\":\"\"", "\"Event_Count\":-5", "\"event_count \":\"x\"", "\"日本\":\"\\ud83e\\udd8a\"",
        ];
        for (var n = _random.Next(3); n > 0; n--)
        {
            yield return junk[_random.Next(junk.Length)];
        }
    }

    private MixedRow Bad((string Reason, Func<bool, byte[]> Make) kind, bool isEvent) =>
        new(Topic(isEvent), _random.Next(Partitions), kind.Make(isEvent), kind.Reason);

    private static MixedRow TooLarge() => new(
        Rows.Events, 0,
        Encoding.UTF8.GetBytes($$"""{"window_start":1735689600000,"event_type":"page_view","event_count":1,"junk":"{{new string('j', 2 * 1024 * 1024)}}"}"""),
        "too_large");

    /// <summary>The kinds of bad rows, each with a single defect in an otherwise good row.</summary>
    private static IEnumerable<(string Reason, Func<bool, byte[]> Make)> BadKinds()
    {
        foreach (var text in new[]
        {
            "", " ", "{", "{}}", "{\"window_start\":1735689600000,}", "nul", "NaN", "{\"window_start\":NaN}", "'x'", "{\"a\":1} {\"a\":1}", "\u0000",
            "{\"a\":\"\n\"}", "{\"window_start\":01}", "[1,]",
        })
        {
            yield return ("not_json", _ => Encoding.UTF8.GetBytes(text));
        }

        yield return ("not_json", isEvent => [.. Object(isEvent, dimension: "\"p").AsSpan()[..^1], 0xC3, 0x28, (byte)'}']);
        yield return ("not_json", isEvent => [.. Object(isEvent), 0xFF]);
        foreach (var text in new[] { "null", "[]", "[{\"window_start\":1}]", "\"text\"", "1", "true", " null " })
        {
            yield return ("not_an_object", _ => Encoding.UTF8.GetBytes(text));
        }

        yield return ("no_window_start", _ => "{}"u8.ToArray());
        foreach (var time in new[] { null, "null" })
        {
            yield return ("no_window_start", isEvent => Object(isEvent, time: time));
        }

        foreach (var time in new[]
        {
            "\"soon\"", "\"\"", "-1", "-1.5", "1735689600000.5", "1e400", "\"1735689600000\"", "\"2025-02-30T00:00:00Z\"", "\"2025-01-01\"", "\"2025-01-01T24:00:00Z\"", "true", "[]",
            "{}", "\"1969-12-31T23:59:59Z\"", "99999999999999999999", "\"2025-01-01 00:00:00.1234567890Z\"",
        })
        {
            yield return ("bad_window_start", isEvent => Object(isEvent, time: time));
        }

        foreach (var time in new[] { "1735689600", "1735689600.000000000", "1.7356896E9", "1.5", "0" })
        {
            yield return ("time_in_seconds", isEvent => Object(isEvent, time: time));
        }

        foreach (var time in new[] { "9999999999999", "\"9999-12-31T23:59:59Z\"", "9223372036854775807" })
        {
            yield return ("future_window", isEvent => Object(isEvent, time: time));
        }

        foreach (var dimension in new[] { null, "null" })
        {
            yield return ("no_dimension", isEvent => Object(isEvent, dimension: dimension));
        }

        foreach (var dimension in new[]
        {
            "\"\"", "7", "[]", "{\"x\":1}", "false", $"\"{new string('x', 129)}\"", $"\"{string.Concat(Enumerable.Repeat("é", 65))}\"", "\"a\\u0000\"", "\"\\n\"",
            "\"\\u007f\"", "\"\\u0085\"", "\"\\ud83e\"",
        })
        {
            yield return ("bad_dimension", isEvent => Object(isEvent, dimension: dimension));
        }

        yield return ("no_measure", isEvent => Object(isEvent, first: null));
        yield return ("no_measure", isEvent => Object(isEvent, first: "null"));
        foreach (var measure in new[] { "-1", "\"5\"", "1e400", "true", "[]", "{}", "\"NaN\"", "-0.5" })
        {
            yield return ("bad_measure", isEvent => Object(isEvent, first: measure));
            yield return ("bad_measure", isEvent => Object(isEvent, second: measure));
        }

        foreach (var measure in new[] { "1.5", "9223372036854775808", "1e-1" })
        {
            yield return ("bad_measure", isEvent => isEvent ? Object(true, first: measure) : Object(false, first: "-1"));
        }

        // The last of two properties wins, even if it is the bad one.
        yield return ("bad_measure", isEvent => Object(isEvent, first: $"1,\"{(isEvent ? "event_count" : "avg_load_time")}\":-1"));
    }

    private static byte[] Object(
        bool isEvent, string? time = "1735689600000", string? dimension = "\"page_view\"", string? first = "5", string? second = null)
    {
        var properties = new List<string>();
        Add("window_start", time);
        Add(isEvent ? "event_type" : "device_category", dimension);
        Add(isEvent ? "event_count" : "avg_load_time", first);
        Add(isEvent ? "user_count" : "p95_load_time", second);
        return Encoding.UTF8.GetBytes($"{{{string.Join(',', properties)}}}");

        void Add(string name, string? value)
        {
            if (value is not null)
            {
                properties.Add($"\"{name}\":{value}");
            }
        }
    }

    private void Shuffle(List<string> properties)
    {
        for (var n = properties.Count - 1; n > 0; n--)
        {
            var other = _random.Next(n + 1);
            (properties[n], properties[other]) = (properties[other], properties[n]);
        }
    }
}
