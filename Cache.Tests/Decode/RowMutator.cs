using System.Globalization;
using System.Text;
using Cache.Metrics;

namespace Cache.Tests.Decode;

/// <summary>
/// Makes rows that are almost valid: assembled from tokens that lead parsers astray, then damaged byte by byte. A seed and a
/// number always give the same row.
/// </summary>
internal sealed class RowMutator(ulong seed, IReadOnlyList<MetricType> types)
{
    private static readonly string[] SessionFields = ["session_id", "end_time", "start_time", "user_id", "duration", "page_count", "device_category"];

    // Of every type, so that rows also have fields that mean something elsewhere.
    private readonly string[] _fieldNames =
        [.. types.SelectMany(type => (string[])[type.TimeField, type.EndField, .. type.DimensionFields, .. type.Measures.Select(measure => measure.Field)]).Concat(SessionFields).Distinct()];

    private static readonly string[] Times =
    [
        "1735689600000", "0", "-1", "-0", "1735689600000.0", "1735689600000.5", "1.7356896e12", "17356896e5", "0.0e-5", "1e400", "9223372036854775807",
        "9223372036854775808", "1735776000000", "1735776000001", "\"2025-01-01T00:00:00Z\"", "\"2025-01-01 00:00:00.123Z\"", "\"2025-01-01 00:00:00.123456789\"",
        "\"2025-01-01T02:30:00.5+02:30\"", "\"2024-12-31T19:30-0430\"", "\"2025-01-01T00:00\"", "\"2025-01-01 00:00:00.\"", "\"2025-02-29 00:00:00\"",
        "\"2024-02-29 23:59:59.999Z\"", "\"1970-01-01T00:00:00+00:01\"", "\"1969-12-31T22:00:00-02:00\"", "\"9999-12-31T23:59:59.999999999+18:59\"",
        "\"0001-01-01T00:00:00Z\"", "\"2025-01-01T00:00:00+19:00\"", "\"2025\\u002d01-01T00:00:00\\u005a\"", "\"\"", "\"1735689600000\"",
        "1735689600", "1735689600.000000000", "1.7356896E9", "978307199999", "978307199999.99999", "978307200000", "\"2025-01-01t00:00:00,5z\"",
        "\"2025-01-01 00:00:00 +0000\"", "\"2025-01-01 00:00:00 Z\"", "\"2025-01-01 00:00:00 \"",
    ];

    private static readonly string[] Names =
    [
        "\"page_view\"", "\"Mobile\"", "\"a.count\"", "\" \"", "\"\"", "\"é\"", "\"\\u00e9\"", "\"🙂\"", "\"\\ud83d\\ude42\"", "\"\\ud83d\"", "\"\\ude42\\ud83d\"", "\"事件\"",
        "\"\\u0000\"", "\"\\n\"", "\"\u007f\"", "\"\u0085\"", "\"\\u0085\"", "\"\u00a0\"", "\"\\\"\\\\\\/\"", "\"<script>\"", "7",
        $"\"{new string('x', 128)}\"", $"\"{new string('x', 129)}\"", $"\"{new string('é', 64)}\"", $"\"{string.Concat(Enumerable.Repeat("\\u00e9", 64))}\"",
        $"\"{string.Concat(Enumerable.Repeat("\\u0041", 128))}\"", $"\"{string.Concat(Enumerable.Repeat("\\u0041", 129))}\"",
    ];

    private static readonly string[] Numbers =
    [
        "0", "-0", "-0.0", "1", "2.0", "1e3", "12.5E1", "-1", "2.5", "1e-40", "0.1", "5e-324", "1e308", "1e309", "1.7976931348623157e308", "9223372036854775807",
        "9223372036854775807.0", "9223372036854775808", "-9223372036854775808", "18446744073709551616", "1e18", "1e19", "123456789012345678901234567890",
        "79228162514264337593543950335", "01", "1.", ".5", "+1", "0x10", "NaN", "Infinity", "\"2\"", "0e0", "100e-2", "1e+2",
    ];

    private static readonly string[] Others = ["null", "true", "false", "[]", "{}", "[[1,{\"a\":[]}],2]", "{\"window_start\":1,\"session_id\":\"x\"}", "nul", "", "[", "}"];

    private static readonly string[] Spaces = ["", "", "", "", " ", "\n", "\t\r "];

    private static readonly byte[][] Frames = [[0, 0, 0, 0, 7], [0xef, 0xbb, 0xbf], [0, 255, 255, 255, 255, 0xef, 0xbb, 0xbf]];

    private static readonly byte[][] Splinters =
    [
        .. ((string[])[
            "\"", "\\", "\\u", "\\ud800", "\\udc00", "\\uD83D", "\\u0000", "\"\\ud800\":1,", "{", "}", "[", "]", ",", ":", "null", "true", "-", "e", "E+", ".", "0",
            "1e999", "NaN", "9223372036854775808", "\ufeff", "\u0085", "/*", "//", "window_start", "\"window_start\":", "\"session_id\":", "\"end_time\":",
            "\"event_type\":\"x\",", " ", "\0", "\u00a0", "/**/", "-02:00", "2025-01-01T00:00:00Z"]).Select(Encoding.UTF8.GetBytes),
        [0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc2], [0x80],
    ];

    private ulong _state;

    /// <summary>Makes the row with that number, of a type, or null for a session.</summary>
    public (MetricType? Type, byte[] Value) Row(long number)
    {
        _state = seed ^ ((ulong)number * 0x9e3779b97f4a7c15);
        var place = (int)(number % (types.Count + 1));
        var type = place == types.Count ? null : types[place];
        var value = Encoding.UTF8.GetBytes(Build(type));

        if (Below(20) == 0)
        {
            value = [.. Pick(Frames), .. value];
        }

        // A third is left as it was built: valid JSON finds its way further into the decoder.
        for (var damages = Below(3) == 0 ? 0 : Below(4); damages > 0; damages--)
        {
            value = Damage(value);
        }

        return (type, value);
    }

    private string Build(MetricType? type)
    {
        if (Below(10_000) == 0)
        {
            return Extreme();
        }

        var text = new StringBuilder(256).Append(Pick(Spaces)).Append('{');
        string[] all = type is null ? SessionFields : [type.TimeField, .. type.DimensionFields, .. type.Measures.Select(measure => measure.Field), type.EndField];
        var fields = all.Where(_ => Below(20) != 0).ToList();
        for (var extra = Below(4); extra > 0; extra--)
        {
            fields.Insert(Below(fields.Count + 1), Below(3) == 0 ? $"x{Below(100)}" : Pick(_fieldNames));
        }

        if (Below(4) == 0)
        {
            fields.Reverse();
        }

        // Most fields are good, since a bad one hides the others; half of the rows have only good ones.
        var goodShare = Below(2) == 0 ? 100 : 85;
        for (var field = 0; field < fields.Count; field++)
        {
            text.Append(field == 0 ? "" : ",").Append(Pick(Spaces)).Append('"').Append(Escaped(fields[field])).Append("\":").Append(Pick(Spaces))
                .Append(Below(100) < goodShare ? Good(type, fields[field]) : Any());
        }

        return text.Append('}').Append(Pick(Spaces)).ToString();
    }

    private string Good(MetricType? type, string field) => type is null ? Good(field)
        : field == type.TimeField ? GoodTime(type.TimeUnit, 1_735_689_600_000)
        : field == type.EndField ? GoodTime(type.TimeUnit, Below(10) == 0 ? 1_735_689_660_001 : 1_735_689_660_000)
        : type.DimensionFields.Contains(field) ? GoodName(type)
        : type.Measures.FirstOrDefault(measure => measure.Field == field)?.Kind is not MeasureKind.Number ? Good(field)
        : Good("p95_load_time") is var number && Below(3) == 0 ? $"-{number}" : number;

    private string GoodTime(TimeUnit unit, long time) => Below(3) == 0 ? Pick(Times[14..20]) : unit switch
    {
        TimeUnit.Seconds => string.Create(CultureInfo.InvariantCulture, $"{time / 1000m}{(Below(2) == 0 ? "" : "e0")}"),
        TimeUnit.Microseconds => string.Create(CultureInfo.InvariantCulture, $"{(time * 1000) + Below(1000)}"),
        _ => time.ToString(CultureInfo.InvariantCulture),
    };

    private string GoodName(MetricType type) => Below(2) == 0 ? Names[Below(4)] : $"\"n{Below(100_000)}{(Below(10) == 0 ? type.Separator : "")}\"";

    private string Good(string field) => field switch
    {
        "window_start" or "window_end" or "start_time" or "end_time" =>
            Below(3) == 0 ? Times[14 + Below(6)] : (1_735_700_000_000 - Below(field is "start_time" ? 2_000_000_000 : 20_000_000)).ToString(CultureInfo.InvariantCulture),
        "event_type" or "device_category" or "session_id" or "user_id" => Below(2) == 0 ? Names[Below(4)] : $"\"n{Below(100_000)}\"",
        "avg_load_time" or "p95_load_time" => string.Create(CultureInfo.InvariantCulture, $"{Below(1_000_000) / 8.0:R}"),
        _ => Below(10) == 0 ? "null" : Below(1_000_000_000).ToString(CultureInfo.InvariantCulture),
    };

    private string Any() => Below(4) switch
    {
        0 => Pick(Times),
        1 => Pick(Names),
        2 => Pick(Numbers),
        _ => Pick(Others),
    };

    private string Escaped(string name) => Below(10) != 0
        ? name
        : string.Concat(name.Select(c => Below(3) == 0 ? $"\\u{(int)c:x4}" : c.ToString())) + (Below(8) == 0 ? "\\ud800" : "");

    /// <summary>Makes deep or long values, some of them too large to be decoded.</summary>
    private string Extreme()
    {
        var size = 1 << (10 + Below(11));
        return Below(7) switch
        {
            0 => new string('[', size),
            5 => new string("tfn-\"1"[Below(6)], size),
            1 => $"{{\"x\":{new string('[', size / 2)}{new string(']', size / 2)},\"window_start\":1}}",
            2 => string.Concat(Enumerable.Repeat("{\"window_start\":", size / 16)),
            3 => $"{{\"session_id\":\"{new string('x', size)}\",\"end_time\":1}}",
            4 => $"{{\"{string.Concat(Enumerable.Repeat("\\u0041", size / 6))}\":1,\"event_type\":\"{string.Concat(Enumerable.Repeat("\\u0041", size / 6))}\"}}",
            _ => $"{{\"window_start\":{new string('1', size)},\"avg_load_time\":0.{new string('0', size)}1,\"padding\":\"{new string(' ', Below(2) == 0 ? 0 : 1 << 20)}\"}}",
        };
    }

    private byte[] Damage(byte[] value)
    {
        var (from, to) = (Below(value.Length + 1), Below(value.Length + 1));
        (from, to) = (Math.Min(from, to), Math.Max(from, to));
        var near = Math.Min(value.Length, from + Below(8));
        switch (Below(9))
        {
            case 0 when value.Length > 0:
                value[from % value.Length] ^= (byte)(1 << Below(8));
                return value;
            case 1 when value.Length > 0:
                value[from % value.Length] = (byte)Below(256);
                return value;
            case 2:
                return [.. value[..from], .. value[near..]];
            case 3:
                return [.. value[..from], .. value[from..near], .. value[from..]];
            case 4:
                return [.. value[..from], .. Pick(Splinters), .. value[near..]];
            case 5:
                return value[..to];
            case 6:
                return [.. value[to..], .. value[from..to], .. value[..from]];
            case 7:
                return [.. value[..from], .. Encoding.UTF8.GetBytes(Any()), .. value[near..]];
            default:
                return [.. value[..from], .. Pick(Splinters), .. value[from..]];
        }
    }

    private T Pick<T>(T[] items) => items[Below(items.Length)];

    /// <summary>SplitMix64, which can start from any state, so that each row has its own.</summary>
    private int Below(int bound)
    {
        var mixed = _state += 0x9e3779b97f4a7c15;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
        return (int)((mixed ^ (mixed >> 31)) % (ulong)bound);
    }
}
