using System.Text.Json;
using Cache.Service.Model;

namespace Cache.Service.Decode;

/// <summary>
/// Decodes window rows: a window start, a dimension and one or two measures. Not thread-safe.
/// </summary>
internal sealed class WindowDecoder(DimensionTable events, DimensionTable devices, FutureLimit limit)
{
    /// <summary>The fast path: decodes a row that is plain, complete and valid. Anything else is left to the full path.</summary>
    /// <returns>False if the full path must decode the value.</returns>
    public bool TryDecodePlain(RowKind kind, ReadOnlySpan<byte> value, out Row row)
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

            // A repeated property is left to the full path, which knows which one counts.
            if (name.SequenceEqual("window_start"u8))
            {
                isPlain = !hasStart && reader.TryTime(out windowStart);
                hasStart = true;
            }
            else if (name.SequenceEqual(names.Dimension))
            {
                isPlain = reader.TryText(out var text) && dimension is null && text.Length is > 0 and <= RowDecoder.MaxDimensionBytes;
                dimension = isPlain ? TableOf(kind).Get(text) : null;
            }
            else if (name.SequenceEqual(names.First))
            {
                isPlain = !hasFirst && TryReadMeasure(kind, ref reader, out first);
                hasFirst = true;
            }
            else if (name.SequenceEqual(names.Second))
            {
                isPlain = !hasSecond && TryReadMeasure(kind, ref reader, out second);
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

        if (!hasStart || dimension is null || (!hasFirst && !hasSecond) || limit.IsExceededBy(windowStart))
        {
            return false;
        }

        row = Row.Window(kind, windowStart, dimension, new Measures(first, second, hasFirst, hasSecond));
        return true;
    }

    /// <summary>The full path: decodes or rejects any row.</summary>
    /// <param name="kind"><see cref="RowKind.Event"/> or <see cref="RowKind.Performance"/>.</param>
    /// <param name="reader">The reader, at the start of the object.</param>
    /// <exception cref="JsonException">The value is not JSON.</exception>
    public Row Decode(RowKind kind, ref Utf8JsonReader reader)
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

        // The last of a repeated property counts, so reasons are compared only at the end.
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueIsEscaped && JsonText.MayHaveSurrogate(reader.ValueSpan))
            {
                reader.Skip();
            }
            else if (reader.ValueTextEquals("window_start"u8))
            {
                reader.Read();
                windowReason = JsonTime.Read(ref reader, RejectReason.NoWindowStart, RejectReason.BadWindowStart, out windowStart);
            }
            else if (reader.ValueTextEquals(names.Dimension))
            {
                reader.Read();
                dimensionReason = JsonText.ReadDimension(ref reader, TableOf(kind), RejectReason.NoDimension, out dimension);
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
                reader.Skip();
            }
        }

        // Only white space may follow the object: on anything else the reader throws.
        reader.Read();

        if (windowReason == RejectReason.None && limit.IsExceededBy(windowStart))
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

    private static bool TryReadMeasure(RowKind kind, ref PlainReader reader, out long measure)
    {
        if (kind == RowKind.Event)
        {
            return reader.TryWhole(out measure);
        }

        var isNumber = reader.TryNumber(out var number);
        measure = BitConverter.DoubleToInt64Bits(number);
        return isNumber;
    }

    private static RejectReason ReadMeasure(RowKind kind, ref Utf8JsonReader reader, out long measure, out bool has) =>
        kind == RowKind.Event ? JsonNumber.ReadCount(ref reader, out measure, out has) : JsonNumber.ReadLoadTime(ref reader, out measure, out has);

    private DimensionTable TableOf(RowKind kind) => kind == RowKind.Event ? events : devices;

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
