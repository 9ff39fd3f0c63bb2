using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Cache.Service.Model;
using Cache.Service.Options;

namespace Cache.Service.Decode;

/// <summary>
/// Turns the bytes of a value into a <see cref="Row"/>: one pass, nothing built in between, no exception on any input. Rows of
/// windows in the plain shape that programs write go by <see cref="PlainReader"/>, everything else by <see cref="Utf8JsonReader"/>,
/// which decides alone what is rejected. One reader's own; not safe for several threads.
/// </summary>
public sealed class RowDecoder
{
    /// <summary>The largest value that is looked at, in bytes (1 MiB).</summary>
    public const int MaxValueBytes = 1024 * 1024;

    /// <summary>The longest dimension, id of a session or of a user, in UTF-8 bytes.</summary>
    public const int MaxDimensionBytes = 128;

    // An unknown field may be nested as deep as its bytes allow; the reader keeps one bit a level.
    private static readonly JsonReaderOptions Json = new() { MaxDepth = MaxValueBytes };

    private readonly DimensionTable _events = new(".count", ".users");
    private readonly DimensionTable _devices = new(".avg_load_time", ".p95_load_time");
    private readonly TimeProvider _time;
    private readonly long _maxFutureMs;
    private long _latestTime;

    /// <summary>Makes a decoder.</summary>
    /// <param name="maxFuture">How far ahead of the clock a window may start, or a session end.</param>
    /// <param name="time">The clock.</param>
    public RowDecoder(TimeSpan maxFuture, TimeProvider time)
    {
        _maxFutureMs = (long)maxFuture.TotalMilliseconds;
        _time = time;
    }

    /// <summary>The kind of row that a topic carries; <see cref="RowKind.Skipped"/> for a topic that nobody handles.</summary>
    public static RowKind KindOf(string topic) => topic switch
    {
        MetricTopics.Event => RowKind.Event,
        MetricTopics.Performance => RowKind.Performance,
        MetricTopics.Session => RowKind.Session,
        _ => RowKind.Skipped,
    };

    /// <summary>Decodes one value.</summary>
    /// <param name="kind"><see cref="RowKind.Event"/>, <see cref="RowKind.Performance"/> or <see cref="RowKind.Session"/>.</param>
    /// <param name="value">The value's bytes.</param>
    /// <returns>The row, or a rejection with its reason.</returns>
    public Row Decode(RowKind kind, ReadOnlySpan<byte> value)
    {
        if (value.Length > MaxValueBytes)
        {
            return Row.Reject(RejectReason.TooLarge);
        }

        if (kind != RowKind.Session && TryDecodePlain(kind, value, out var row))
        {
            return row;
        }

        // The reader does not look inside strings that nobody asks for.
        if (!Utf8.IsValid(value))
        {
            return Row.Reject(RejectReason.NotJson);
        }

        try
        {
            var reader = new Utf8JsonReader(value, Json);
            return !reader.Read() || reader.TokenType != JsonTokenType.StartObject ? NotAnObject(ref reader)
                : kind == RowKind.Session ? DecodeSession(ref reader)
                : DecodeWindow(kind, ref reader);
        }
        catch (JsonException)
        {
            return Row.Reject(RejectReason.NotJson);
        }
    }

    private static Row NotAnObject(ref Utf8JsonReader reader)
    {
        // Only a whole JSON text counts as "JSON, but no object"; the reader throws on anything else.
        while (reader.Read())
        {
        }

        return Row.Reject(RejectReason.NotAnObject);
    }

    /// <summary>Decodes a row of a window when it is plain, complete and good; false leaves it to the full reader.</summary>
    private bool TryDecodePlain(RowKind kind, ReadOnlySpan<byte> value, out Row row)
    {
        row = default;
        var names = FieldNames.Of(kind);
        long windowStart = 0, first = 0, second = 0;
        bool hasStart = false, hasFirst = false, hasSecond = false, isEnd = false;
        Dimension? dimension = null;
        var reader = new PlainReader(value);
        for (var isPlain = reader.TryStart(); !isEnd; isPlain = reader.TryNext(out isEnd))
        {
            if (!isPlain || !reader.TryName(out var name))
            {
                return false;
            }

            // Each at most once: which of two counts is for the full reader to say.
            if (name.SequenceEqual("window_start"u8))
            {
                isPlain = !hasStart && reader.TryTime(out windowStart);
                hasStart = true;
            }
            else if (name.SequenceEqual(names.Dimension))
            {
                isPlain = reader.TryText(out var text) && dimension is null && text.Length is > 0 and <= MaxDimensionBytes;
                dimension = isPlain ? TableOf(kind).Get(text) : null;
            }
            else if (name.SequenceEqual(names.First))
            {
                isPlain = !hasFirst && TryMeasure(kind, ref reader, out first);
                hasFirst = true;
            }
            else if (name.SequenceEqual(names.Second))
            {
                isPlain = !hasSecond && TryMeasure(kind, ref reader, out second);
                hasSecond = true;
            }
            else
            {
                isPlain = reader.TrySkip();
            }

            if (!isPlain)
            {
                return false;
            }
        }

        if (!hasStart || dimension is null || (!hasFirst && !hasSecond) || IsTooFarAhead(windowStart))
        {
            return false;
        }

        row = Row.Window(kind, windowStart, dimension, new Measures(first, second, hasFirst, hasSecond));
        return true;
    }

    private static bool TryMeasure(RowKind kind, ref PlainReader reader, out long measure)
    {
        if (kind == RowKind.Event)
        {
            return reader.TryWhole(out measure);
        }

        var isNumber = reader.TryNumber(out var number);
        measure = BitConverter.DoubleToInt64Bits(number);
        return isNumber;
    }

    private DimensionTable TableOf(RowKind kind) => kind == RowKind.Event ? _events : _devices;

    private Row DecodeWindow(RowKind kind, ref Utf8JsonReader reader)
    {
        var names = FieldNames.Of(kind);
        long windowStart = 0, first = 0, second = 0;
        var hasFirst = false;
        var hasSecond = false;
        var windowReason = RejectReason.NoWindowStart;
        var dimensionReason = RejectReason.NoDimension;
        var firstReason = RejectReason.None;
        var secondReason = RejectReason.None;
        Dimension? dimension = null;

        // Of a repeated property the last one counts, so reasons are weighed only at the end.
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueIsEscaped && HasSurrogate(reader.ValueSpan))
            {
                reader.Read();
                reader.Skip();
            }
            else if (reader.ValueTextEquals("window_start"u8))
            {
                reader.Read();
                windowReason = ReadTime(ref reader, RejectReason.NoWindowStart, RejectReason.BadWindowStart, out windowStart);
            }
            else if (reader.ValueTextEquals(names.Dimension))
            {
                reader.Read();
                dimensionReason = ReadDimension(ref reader, TableOf(kind), RejectReason.NoDimension, out dimension);
            }
            else if (reader.ValueTextEquals(names.First))
            {
                reader.Read();
                firstReason = kind == RowKind.Event ? ReadCount(ref reader, out first, out hasFirst) : ReadLoadTime(ref reader, out first, out hasFirst);
            }
            else if (reader.ValueTextEquals(names.Second))
            {
                reader.Read();
                secondReason = kind == RowKind.Event ? ReadCount(ref reader, out second, out hasSecond) : ReadLoadTime(ref reader, out second, out hasSecond);
            }
            else
            {
                reader.Read();
                reader.Skip();
            }
        }

        // Anything but white space after the object is not JSON: the reader throws.
        reader.Read();

        if (windowReason == RejectReason.None && IsTooFarAhead(windowStart))
        {
            windowReason = RejectReason.FutureWindow;
        }

        var reason = windowReason != RejectReason.None ? windowReason
            : dimensionReason != RejectReason.None ? dimensionReason
            : firstReason != RejectReason.None ? firstReason
            : secondReason != RejectReason.None ? secondReason
            : hasFirst || hasSecond ? RejectReason.None
            : RejectReason.NoMeasure;

        return reason == RejectReason.None
            ? Row.Window(kind, windowStart, dimension!, new Measures(first, second, hasFirst, hasSecond))
            : Row.Reject(reason);
    }

    private Row DecodeSession(ref Utf8JsonReader reader)
    {
        string? id = null, user = null, device = null;
        long start = 0, end = 0, duration = 0, pages = 0;
        bool hasStart = false, hasDuration = false, hasPages = false;
        var idReason = RejectReason.NoSessionId;
        var endReason = RejectReason.NoEndTime;
        var startReason = RejectReason.None;
        var userReason = RejectReason.None;
        var deviceReason = RejectReason.None;
        var durationReason = RejectReason.None;
        var pagesReason = RejectReason.None;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueIsEscaped && HasSurrogate(reader.ValueSpan))
            {
                reader.Read();
                reader.Skip();
            }
            else if (reader.ValueTextEquals("session_id"u8))
            {
                reader.Read();
                idReason = ReadText(ref reader, RejectReason.NoSessionId, RejectReason.BadSessionId, out id);
            }
            else if (reader.ValueTextEquals("end_time"u8))
            {
                reader.Read();
                endReason = ReadTime(ref reader, RejectReason.NoEndTime, RejectReason.BadEndTime, out end);
            }
            else if (reader.ValueTextEquals("start_time"u8))
            {
                reader.Read();
                hasStart = reader.TokenType != JsonTokenType.Null;
                startReason = ReadTime(ref reader, RejectReason.None, RejectReason.BadStartTime, out start);
            }
            else if (reader.ValueTextEquals("user_id"u8))
            {
                reader.Read();
                userReason = ReadText(ref reader, RejectReason.None, RejectReason.BadUserId, out user);
            }
            else if (reader.ValueTextEquals("device_category"u8))
            {
                reader.Read();
                deviceReason = ReadDimension(ref reader, _devices, RejectReason.None, out var dimension);
                device = dimension?.Name;
            }
            else if (reader.ValueTextEquals("duration"u8))
            {
                reader.Read();
                durationReason = ReadCount(ref reader, out duration, out hasDuration);
            }
            else if (reader.ValueTextEquals("page_count"u8))
            {
                reader.Read();
                pagesReason = ReadCount(ref reader, out pages, out hasPages);
            }
            else
            {
                reader.Read();
                reader.Skip();
            }
        }

        reader.Read();

        if (endReason == RejectReason.None && IsTooFarAhead(end))
        {
            endReason = RejectReason.FutureSession;
        }

        if (endReason == RejectReason.None && hasStart && startReason == RejectReason.None && start > end)
        {
            startReason = RejectReason.BadStartTime;
        }

        var reason = idReason != RejectReason.None ? idReason
            : endReason != RejectReason.None ? endReason
            : startReason != RejectReason.None ? startReason
            : userReason != RejectReason.None ? userReason
            : deviceReason != RejectReason.None ? deviceReason
            : durationReason != RejectReason.None ? durationReason
            : pagesReason;

        return reason == RejectReason.None
            ? Row.Of(new Session(id!, end, user, hasStart ? start : null, hasDuration ? duration : null, hasPages ? pages : null, device))
            : Row.Reject(reason);
    }

    /// <summary>
    /// Whether an escaped name may have half of a surrogate pair, on which comparing it throws. No name of ours has one.
    /// </summary>
    private static bool HasSurrogate(ReadOnlySpan<byte> escaped) => escaped.IndexOf("\\ud"u8) >= 0 || escaped.IndexOf("\\uD"u8) >= 0;

    private bool IsTooFarAhead(long milliseconds)
    {
        if (milliseconds <= _latestTime)
        {
            return false;
        }

        // The bound only moves ahead, so the clock is read only for times beyond the last one.
        _latestTime = _time.GetUtcNow().ToUnixTimeMilliseconds() + _maxFutureMs;
        return milliseconds > _latestTime;
    }

    [SuppressMessage("Style", "IDE0072", Justification = "Every other token is a wrong type.")]
    private static RejectReason ReadTime(ref Utf8JsonReader reader, RejectReason none, RejectReason bad, out long milliseconds)
    {
        milliseconds = 0;
        Span<byte> text = stackalloc byte[MaxTimeBytes];
        switch (reader.TokenType)
        {
            case JsonTokenType.Number:
                return TryWhole(ref reader, out milliseconds) && milliseconds >= 0 ? RejectReason.None : bad;

            case JsonTokenType.String:
                return TryText(ref reader, text, out var length) && WindowTime.TryParse(text[..length], out milliseconds) && milliseconds >= 0
                    ? RejectReason.None
                    : bad;

            case JsonTokenType.Null:
                return none;

            default:
                reader.Skip();
                return bad;
        }
    }

    // The longest time is 35 characters; escaped text is unescaped into a buffer of this size.
    private const int MaxTimeBytes = 64;

    private static RejectReason ReadDimension(ref Utf8JsonReader reader, DimensionTable table, RejectReason none, out Dimension? dimension)
    {
        Span<byte> buffer = stackalloc byte[MaxDimensionBytes];
        var reason = ReadName(ref reader, buffer, none, RejectReason.BadDimension, out var length);
        dimension = length > 0 ? table.Get(buffer[..length]) : null;
        return reason;
    }

    private static RejectReason ReadText(ref Utf8JsonReader reader, RejectReason none, RejectReason bad, out string? text)
    {
        Span<byte> buffer = stackalloc byte[MaxDimensionBytes];
        var reason = ReadName(ref reader, buffer, none, bad, out var length);
        text = length > 0 ? Encoding.UTF8.GetString(buffer[..length]) : null;
        return reason;
    }

    /// <summary>Reads what names something: text that is not empty, not too long, and has no control characters.</summary>
    /// <returns>Why it cannot be used; the length is 0 then, and when there is none.</returns>
    private static RejectReason ReadName(ref Utf8JsonReader reader, scoped Span<byte> buffer, RejectReason none, RejectReason bad, out int length)
    {
        length = 0;
        if (reader.TokenType == JsonTokenType.Null)
        {
            return none;
        }

        if (reader.TokenType != JsonTokenType.String)
        {
            reader.Skip();
            return bad;
        }

        if (!TryText(ref reader, buffer, out length) || length == 0 || HasControlCharacter(buffer[..length]))
        {
            length = 0;
            return bad;
        }

        return RejectReason.None;
    }

    /// <summary>Copies a string, unescaped; false when it is longer than the buffer or no valid text.</summary>
    private static bool TryText(ref Utf8JsonReader reader, scoped Span<byte> buffer, out int length)
    {
        length = 0;
        if (!reader.ValueIsEscaped)
        {
            return reader.ValueSpan.TryCopyTo(buffer) && (length = reader.ValueSpan.Length) >= 0;
        }

        // An escape takes at most six bytes for one (\u0041): longer cannot fit, and is not worth unescaping.
        if (reader.ValueSpan.Length > buffer.Length * 6 || HasLoneSurrogate(reader.ValueSpan))
        {
            return false;
        }

        Span<byte> unescaped = stackalloc byte[reader.ValueSpan.Length];
        length = reader.CopyString(unescaped);
        return unescaped[..length].TryCopyTo(buffer);
    }

    /// <summary>
    /// Whether escaped text has half of a surrogate pair: unescaping it would throw, once for each such text of a row.
    /// </summary>
    private static bool HasLoneSurrogate(ReadOnlySpan<byte> escaped)
    {
        for (var at = escaped.IndexOf((byte)'\\'); at >= 0; at = escaped.IndexOf((byte)'\\'))
        {
            var unit = Unit(escaped[at..]);
            escaped = escaped[(at + 2)..];
            if (char.IsHighSurrogate(unit) && escaped[4..] is [(byte)'\\', ..] and var next && char.IsLowSurrogate(Unit(next)))
            {
                escaped = next[2..];
            }
            else if (char.IsSurrogate(unit))
            {
                return true;
            }
        }

        return false;

        // The reader has seen to it that an escape is whole.
        static char Unit(ReadOnlySpan<byte> escape) =>
            escape[1] == 'u' && Utf8Parser.TryParse(escape[2..6], out ushort unit, out _, 'x') ? (char)unit : '\0';
    }

    /// <summary>Whether there is a character of Unicode's category Cc: U+0000–U+001F or U+007F–U+009F.</summary>
    private static bool HasControlCharacter(ReadOnlySpan<byte> utf8)
    {
        if (utf8.ContainsAnyInRange((byte)0x00, (byte)0x1F) || utf8.Contains((byte)0x7F))
        {
            return true;
        }

        for (var lead = utf8.IndexOf((byte)0xC2); lead >= 0; lead = utf8.IndexOf((byte)0xC2))
        {
            utf8 = utf8[(lead + 1)..];
            if (utf8 is [< 0xA0, ..])
            {
                return true;
            }
        }

        return false;
    }

    private static RejectReason ReadCount(ref Utf8JsonReader reader, out long count, out bool has)
    {
        count = 0;
        has = false;
        switch (reader.TokenType)
        {
            case JsonTokenType.Null:
                return RejectReason.None;

            case JsonTokenType.Number:
                has = TryWhole(ref reader, out count) && count >= 0;
                return has ? RejectReason.None : RejectReason.BadMeasure;

            default:
                reader.Skip();
                return RejectReason.BadMeasure;
        }
    }

    private static RejectReason ReadLoadTime(ref Utf8JsonReader reader, out long bits, out bool has)
    {
        bits = 0;
        has = false;
        switch (reader.TokenType)
        {
            case JsonTokenType.Null:
                return RejectReason.None;

            case JsonTokenType.Number:
                has = reader.TryGetDouble(out var number) && double.IsFinite(number) && number >= 0;

                // -0 becomes 0.
                bits = has ? BitConverter.DoubleToInt64Bits(number + 0.0) : 0;
                return has ? RejectReason.None : RejectReason.BadMeasure;

            default:
                reader.Skip();
                return RejectReason.BadMeasure;
        }
    }

    /// <summary>A whole number, also when written as <c>2.0</c> or <c>1e3</c>, within int64.</summary>
    private static bool TryWhole(ref Utf8JsonReader reader, out long number) =>
        reader.TryGetInt64(out number) || TryWhole(reader.ValueSpan, out number);

    /// <summary>Digit by digit, since decimals and doubles round what is no whole number to one.</summary>
    private static bool TryWhole(ReadOnlySpan<byte> text, out long number)
    {
        var negative = text[0] == '-';
        var e = text.IndexOfAny((byte)'e', (byte)'E');
        var mantissa = text[(negative ? 1 : 0)..(e < 0 ? text.Length : e)];
        var point = mantissa.IndexOf((byte)'.') is var at and >= 0 ? at : mantissa.Length;
        var exponent = 0;
        if (e >= 0 && !Utf8Parser.TryParse(text[(e + 1)..], out exponent, out _))
        {
            // Further than a number of any length has digits.
            exponent = text[e + 1] == '-' ? int.MinValue : int.MaxValue;
        }

        number = 0;
        var digitsLeft = (long)point + exponent;
        foreach (var digit in mantissa)
        {
            if (digit == '.')
            {
                continue;
            }

            if (digitsLeft-- > 0 ? !TryAppend(ref number, digit - '0') : digit != '0')
            {
                return false;
            }
        }

        for (; digitsLeft > 0 && number > 0; digitsLeft--)
        {
            if (!TryAppend(ref number, 0))
            {
                return false;
            }
        }

        number = negative ? -number : number;
        return true;
    }

    private static bool TryAppend(ref long number, int digit)
    {
        if (number > (long.MaxValue - digit) / 10)
        {
            return false;
        }

        number = (number * 10) + digit;
        return true;
    }

    private readonly ref struct FieldNames(ReadOnlySpan<byte> dimension, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second)
    {
        public readonly ReadOnlySpan<byte> Dimension = dimension;
        public readonly ReadOnlySpan<byte> First = first;
        public readonly ReadOnlySpan<byte> Second = second;

        public static FieldNames Of(RowKind kind) => kind == RowKind.Event
            ? new("event_type"u8, "event_count"u8, "user_count"u8)
            : new("device_category"u8, "avg_load_time"u8, "p95_load_time"u8);
    }
}
