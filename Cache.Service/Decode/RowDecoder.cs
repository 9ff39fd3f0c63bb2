using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Unicode;

namespace Cache.Service.Decode;

/// <summary>
/// Turns the bytes of a value into a <see cref="Row"/>: one pass with <see cref="Utf8JsonReader"/>, nothing built in
/// between, no exception on any input. One reader's own; not safe for several threads.
/// </summary>
public sealed class RowDecoder
{
    /// <summary>The largest value that is looked at, in bytes (1 MiB).</summary>
    public const int MaxValueBytes = 1024 * 1024;

    /// <summary>The longest dimension, in UTF-8 bytes.</summary>
    public const int MaxDimensionBytes = 128;

    // An unknown field may be nested as deep as its bytes allow; the reader keeps one bit a level.
    private static readonly JsonReaderOptions Json = new() { MaxDepth = MaxValueBytes };

    private readonly DimensionTable _events = new(".count", ".users");
    private readonly DimensionTable _devices = new(".avg_load_time", ".p95_load_time");
    private readonly TimeProvider _time;
    private readonly long _maxFutureMs;
    private long _latestWindow;

    /// <summary>Makes a decoder.</summary>
    /// <param name="maxFuture">How far ahead of the clock a window may start.</param>
    /// <param name="time">The clock.</param>
    public RowDecoder(TimeSpan maxFuture, TimeProvider time)
    {
        _maxFutureMs = (long)maxFuture.TotalMilliseconds;
        _time = time;
    }

    /// <summary>The kind of row that a topic carries; <see cref="RowKind.Skipped"/> for a topic that nobody handles.</summary>
    public static RowKind KindOf(string topic) => topic switch
    {
        "event_metrics" => RowKind.Event,
        "performance_metrics" => RowKind.Performance,
        _ => RowKind.Skipped,
    };

    /// <summary>Decodes one value.</summary>
    /// <param name="kind"><see cref="RowKind.Event"/> or <see cref="RowKind.Performance"/>.</param>
    /// <param name="value">The value's bytes.</param>
    /// <returns>The row, or a rejection with its reason.</returns>
    public Row Decode(RowKind kind, ReadOnlySpan<byte> value)
    {
        if (value.Length > MaxValueBytes)
        {
            return Row.Reject(RejectReason.TooLarge);
        }

        // The reader does not look inside strings that nobody asks for.
        if (!Utf8.IsValid(value))
        {
            return Row.Reject(RejectReason.NotJson);
        }

        try
        {
            var reader = new Utf8JsonReader(value, Json);
            return reader.Read() && reader.TokenType == JsonTokenType.StartObject
                ? DecodeObject(kind, ref reader)
                : NotAnObject(ref reader);
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

    private Row DecodeObject(RowKind kind, ref Utf8JsonReader reader)
    {
        var names = kind == RowKind.Event
            ? new FieldNames("event_type"u8, "event_count"u8, "user_count"u8)
            : new FieldNames("device_category"u8, "avg_load_time"u8, "p95_load_time"u8);

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
                windowReason = ReadWindowStart(ref reader, out windowStart);
            }
            else if (reader.ValueTextEquals(names.Dimension))
            {
                reader.Read();
                dimensionReason = ReadDimension(ref reader, kind == RowKind.Event ? _events : _devices, out dimension);
            }
            else if (reader.ValueTextEquals(names.First))
            {
                reader.Read();
                firstReason = ReadMeasure(kind, ref reader, out first, out hasFirst);
            }
            else if (reader.ValueTextEquals(names.Second))
            {
                reader.Read();
                secondReason = ReadMeasure(kind, ref reader, out second, out hasSecond);
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

    /// <summary>
    /// Whether an escaped name may have half of a surrogate pair, on which comparing it throws. No name of ours has one.
    /// </summary>
    private static bool HasSurrogate(ReadOnlySpan<byte> escaped) => escaped.IndexOf("\\ud"u8) >= 0 || escaped.IndexOf("\\uD"u8) >= 0;

    private bool IsTooFarAhead(long windowStart)
    {
        if (windowStart <= _latestWindow)
        {
            return false;
        }

        // The bound only moves ahead, so the clock is read only for windows beyond the last one.
        _latestWindow = _time.GetUtcNow().ToUnixTimeMilliseconds() + _maxFutureMs;
        return windowStart > _latestWindow;
    }

    [SuppressMessage("Style", "IDE0072", Justification = "Every other token is a wrong type.")]
    private static RejectReason ReadWindowStart(ref Utf8JsonReader reader, out long windowStart)
    {
        windowStart = 0;
        Span<byte> text = stackalloc byte[MaxTimeBytes];
        switch (reader.TokenType)
        {
            case JsonTokenType.Number:
                return TryWhole(ref reader, out windowStart) && windowStart >= 0 ? RejectReason.None : RejectReason.BadWindowStart;

            case JsonTokenType.String:
                return TryText(ref reader, text, out var length) && WindowTime.TryParse(text[..length], out windowStart) && windowStart >= 0
                    ? RejectReason.None
                    : RejectReason.BadWindowStart;

            case JsonTokenType.Null:
                return RejectReason.NoWindowStart;

            default:
                reader.Skip();
                return RejectReason.BadWindowStart;
        }
    }

    // The longest time is 35 characters; escaped text is unescaped into a buffer of this size.
    private const int MaxTimeBytes = 64;

    private static RejectReason ReadDimension(ref Utf8JsonReader reader, DimensionTable table, out Dimension? dimension)
    {
        dimension = null;
        if (reader.TokenType == JsonTokenType.Null)
        {
            return RejectReason.NoDimension;
        }

        if (reader.TokenType != JsonTokenType.String)
        {
            reader.Skip();
            return RejectReason.BadDimension;
        }

        Span<byte> buffer = stackalloc byte[MaxDimensionBytes];
        if (!TryText(ref reader, buffer, out var length) || length == 0 || HasControlCharacter(buffer[..length]))
        {
            return RejectReason.BadDimension;
        }

        dimension = table.Get(buffer[..length]);
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
        if (reader.ValueSpan.Length > buffer.Length * 6)
        {
            return false;
        }

        Span<byte> unescaped = stackalloc byte[reader.ValueSpan.Length];
        try
        {
            length = reader.CopyString(unescaped);
        }
        catch (InvalidOperationException)
        {
            // Half of a surrogate pair.
            return false;
        }

        return unescaped[..length].TryCopyTo(buffer);
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

    private static RejectReason ReadMeasure(RowKind kind, ref Utf8JsonReader reader, out long bits, out bool has)
    {
        bits = 0;
        has = false;
        switch (reader.TokenType)
        {
            case JsonTokenType.Null:
                return RejectReason.None;

            case JsonTokenType.Number when kind == RowKind.Event:
                has = TryWhole(ref reader, out bits) && bits >= 0;
                return has ? RejectReason.None : RejectReason.BadMeasure;

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
    private static bool TryWhole(ref Utf8JsonReader reader, out long number)
    {
        if (reader.TryGetInt64(out number))
        {
            return true;
        }

        // A decimal rounds what is tiny to 0; a double does not.
        if (reader.TryGetDecimal(out var fraction) && decimal.Truncate(fraction) == fraction
            && reader.TryGetDouble(out var rough) && Math.Truncate(rough) == rough
            && fraction is >= long.MinValue and <= long.MaxValue)
        {
            number = (long)fraction;
            return true;
        }

        return false;
    }

    private readonly ref struct FieldNames(ReadOnlySpan<byte> dimension, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second)
    {
        public readonly ReadOnlySpan<byte> Dimension = dimension;
        public readonly ReadOnlySpan<byte> First = first;
        public readonly ReadOnlySpan<byte> Second = second;
    }
}
