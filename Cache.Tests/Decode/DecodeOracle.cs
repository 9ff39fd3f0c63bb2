using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Text.Unicode;
using Cache.Metrics;
using Cache.Service.Decode;
using Cache.Service.Model;

namespace Cache.Tests.Decode;

/// <summary>
/// Decodes a value the slow way: parses the whole document, then applies the rules of the README one by one. It shares nothing
/// with <see cref="RowDecoder"/> but the types, and the two must agree.
/// </summary>
internal static partial class DecodeOracle
{
    private static readonly JsonDocumentOptions Json = new() { MaxDepth = RowDecoder.MaxValueBytes };

    /// <summary>Decodes one value.</summary>
    /// <param name="type">The metric type; null for sessions.</param>
    /// <param name="value">The value's bytes.</param>
    /// <param name="latest">The latest time that is not too far ahead, milliseconds.</param>
    public static Decoded Decode(MetricType? type, byte[] value, long latest)
    {
        if (value.Length > 1024 * 1024)
        {
            return new(RejectReason.TooLarge);
        }

        value = value.Length >= 5 && value[0] == 0 ? value[5..] : value;
        value = value is [0xEF, 0xBB, 0xBF, ..] ? value[3..] : value;
        if (!Utf8.IsValid(value))
        {
            return new(RejectReason.NotJson);
        }

        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(value, Json);
        }
        catch (JsonException)
        {
            return new(RejectReason.NotJson);
        }

        using (document)
        {
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                return new(RejectReason.NotAnObject);
            }

            var fields = new Dictionary<string, JsonElement>();
            foreach (var property in document.RootElement.EnumerateObject())
            {
                if (Text(() => property.Name) is { } name)
                {
                    fields[name] = property.Value;
                }
            }

            return type is null ? Session(new(fields), latest) : Window(type, new(fields), latest);
        }
    }

    private static Decoded Window(MetricType type, Reading reading, long latest)
    {
        var start = reading.Time(type.TimeField, RejectReason.NoWindowStart, RejectReason.BadWindowStart, type.TimeUnit);
        reading.Require(!(start > latest), RejectReason.FutureWindow);
        if (type.WindowSeconds is { } seconds)
        {
            var end = reading.Time(type.EndField, RejectReason.None, RejectReason.BadWindowEnd, type.TimeUnit);
            reading.Require(end is null || end - start == seconds * 1000L, RejectReason.WrongWindowLength);
        }

        var parts = new List<string?>();
        foreach (var field in type.DimensionFields)
        {
            var part = reading.Name(field, RejectReason.NoDimension, RejectReason.BadDimension);
            reading.Require(type.DimensionFields.Count == 1 || part?.Contains(type.Separator, StringComparison.Ordinal) != true, RejectReason.BadDimension);
            parts.Add(part);
        }

        long?[] values = [.. type.Measures.Select(measure => reading.Number(measure.Field, measure.Kind == MeasureKind.Count, measure.IsSigned))];
        reading.Require(Array.Exists(values, value => value is not null), RejectReason.NoMeasure);
        return reading.Reason != RejectReason.None
            ? new(reading.Reason)
            : new(RejectReason.None, start!.Value, string.Join(type.Separator, parts), TestRows.Measures(values));
    }

    private static Decoded Session(Reading reading, long latest)
    {
        var id = reading.Name("session_id", RejectReason.NoSessionId, RejectReason.BadSessionId);
        var end = reading.Time("end_time", RejectReason.NoEndTime, RejectReason.BadEndTime);
        reading.Require(!(end > latest), RejectReason.FutureSession);
        var start = reading.Time("start_time", RejectReason.None, RejectReason.BadStartTime);
        reading.Require(!(start > end), RejectReason.BadStartTime);
        var user = reading.Name("user_id", RejectReason.None, RejectReason.BadUserId);
        var device = reading.Name("device_category", RejectReason.None, RejectReason.BadDimension);
        var duration = reading.Number("duration", whole: true);
        var pages = reading.Number("page_count", whole: true);
        return reading.Reason != RejectReason.None
            ? new(reading.Reason)
            : new(RejectReason.None, Session: new(id!, end!.Value, user, start, duration, pages, device));
    }

    /// <summary>Reads a string; null if it has a lone surrogate.</summary>
    private static string? Text(Func<string?> read)
    {
        try
        {
            return read();
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    [GeneratedRegex("^([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?(?: ?(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?))?\\z")]
    private static partial Regex TimeShape { get; }

    private static long? Time(string text)
    {
        if (TimeShape.Match(text) is not { Success: true } match)
        {
            return null;
        }

        var parts = Enumerable.Range(1, 6).Select(part => match.Groups[part].Success ? int.Parse(match.Groups[part].Value, CultureInfo.InvariantCulture) : 0).ToArray();
        var fraction = int.Parse(match.Groups[7].Value.PadRight(3, '0')[..3], CultureInfo.InvariantCulture);
        var zone = match.Groups[8].Value is "" or "Z" or "z" ? "+0000" : match.Groups[8].Value.Replace(":", "", StringComparison.Ordinal).PadRight(5, '0');
        var (hours, minutes) = (int.Parse(zone.AsSpan(1, 2), CultureInfo.InvariantCulture), int.Parse(zone.AsSpan(3, 2), CultureInfo.InvariantCulture));
        if (hours > 18 || minutes > 59)
        {
            return null;
        }

        try
        {
            var local = new DateTime(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], fraction, DateTimeKind.Utc);
            var offset = ((hours * 60) + minutes) * (zone[0] == '-' ? -1 : 1);
            return ((local.Ticks - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerMillisecond) - (offset * 60_000L);
        }
        catch (ArgumentOutOfRangeException)
        {
            return null;
        }
    }

    [GeneratedRegex("^(-?)([0-9]+)(?:\\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?\\z")]
    private static partial Regex NumberShape { get; }

    /// <summary>A number as milliseconds; null if it is not a whole number, but for seconds, or beyond int64.</summary>
    private static long? Numeric(string raw, TimeUnit unit) => unit switch
    {
        TimeUnit.Seconds when Whole(raw) is null => decimal.TryParse(raw, NumberStyles.Float, CultureInfo.InvariantCulture, out var seconds) && Math.Abs(seconds) < long.MaxValue / 1000m
            ? (long)Math.Floor(seconds * 1000) : null,
        TimeUnit.Seconds => Whole(raw) is > long.MinValue / 1000 and < long.MaxValue / 1000 and var whole ? whole * 1000 : null,
        TimeUnit.Microseconds => Whole(raw) is { } micros ? (long)Math.Floor(micros / 1000m) : null,
        _ => Whole(raw),
    };

    /// <summary>A JSON number as an int64, exactly; null if it is not one.</summary>
    private static long? Whole(string raw)
    {
        var parts = NumberShape.Match(raw).Groups;
        var digits = BigInteger.Parse(parts[2].Value + parts[3].Value, CultureInfo.InvariantCulture);
        var exponent = (parts[4].Success ? BigInteger.Parse(parts[4].Value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture) : 0) - parts[3].Length;
        if (digits.IsZero)
        {
            return 0;
        }

        // Shifted by this many digits, a number is either a fraction or beyond int64.
        if (BigInteger.Abs(exponent) > 20 + raw.Length)
        {
            return null;
        }

        var scale = BigInteger.Pow(10, (int)BigInteger.Abs(exponent));
        var whole = exponent >= 0 ? digits * scale : BigInteger.DivRem(digits, scale, out var rest) is var quotient && rest.IsZero ? quotient : -1;
        if (whole < 0)
        {
            return null;
        }

        whole = parts[1].Value == "-" ? -whole : whole;
        return whole >= long.MinValue && whole <= long.MaxValue ? (long)whole : null;
    }

    /// <summary>Reads fields in order; the first that breaks a rule gives the reason.</summary>
    private sealed class Reading(Dictionary<string, JsonElement> fields)
    {
        public RejectReason Reason { get; private set; }

        public void Require(bool rule, RejectReason reason) => Reason = Reason == RejectReason.None && !rule ? reason : Reason;

        public long? Time(string name, RejectReason none, RejectReason bad, TimeUnit unit = TimeUnit.Milliseconds)
        {
            if (!Present(name, none, out var field))
            {
                return null;
            }

            var time = field.ValueKind switch
            {
                JsonValueKind.Number => Numeric(field.GetRawText(), unit),
                JsonValueKind.String => Text(field.GetString) is { } text ? DecodeOracle.Time(text) : null,
                _ => null,
            };
            if (field.ValueKind == JsonValueKind.Number)
            {
                var number = double.Parse(field.GetRawText(), CultureInfo.InvariantCulture);
                Require(unit != TimeUnit.Milliseconds || number is < 0 or >= 978_307_200_000, RejectReason.TimeInSeconds);
                Require(time >= 978_307_200_000, bad);
            }

            Require(time >= 0, bad);
            return time;
        }

        public string? Name(string name, RejectReason none, RejectReason bad)
        {
            if (!Present(name, none, out var field))
            {
                return null;
            }

            var text = field.ValueKind == JsonValueKind.String ? Text(field.GetString) : null;
            Require(text is { Length: > 0 } && Encoding.UTF8.GetByteCount(text) <= 128 && !text.Any(char.IsControl), bad);
            return text;
        }

        /// <summary>A count, or the bits of a load time.</summary>
        public long? Number(string name, bool whole, bool signed = false)
        {
            if (!Present(name, RejectReason.None, out var field))
            {
                return null;
            }

            long? number = field.ValueKind != JsonValueKind.Number ? null
                : whole ? Whole(field.GetRawText())
                : double.Parse(field.GetRawText(), CultureInfo.InvariantCulture) is var time && double.IsFinite(time) && (signed || time >= 0)
                    ? BitConverter.DoubleToInt64Bits(time + 0.0)
                    : null;
            Require(whole ? number >= 0 : number is not null, RejectReason.BadMeasure);
            return number;
        }

        private bool Present(string name, RejectReason none, out JsonElement field)
        {
            var present = fields.TryGetValue(name, out field) && field.ValueKind != JsonValueKind.Null;
            Require(present || none == RejectReason.None, none);
            return present;
        }
    }
}

/// <summary>The result of decoding, in a form that can be compared and printed.</summary>
internal sealed record Decoded(
    RejectReason Reason, long WindowStart = 0, string? Dimension = null, Measures Measures = default, Session? Session = null)
{
    public static Decoded Of(in Row row) => row.Kind == RowKind.Rejected
        ? new(row.Reason)
        : new(row.Reason, row.WindowStart, row.Dimension?.Name, row.Measures, row.Session);
}
