using System.Text;
using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Model;

namespace Cache.Service.Decode;

/// <summary>
/// Decodes the rows of one metric type: a window start, a dimension and its measures. Not thread-safe.
/// </summary>
internal sealed class TypeDecoder
{
    // Slots of the fields, in this order, followed by the dimension's and then the measures'.
    private const int StartSlot = 0;
    private const int EndSlot = 1;
    private const int FirstDimension = 2;

    private const int NoSlot = -1;

    // Positions in a row for which a guess is kept.
    private const int MaxGuesses = 32;

    private readonly MetricType _type;
    private readonly FutureLimit _limit;
    private readonly DimensionTable _dimensions;
    private readonly byte[]?[] _names;
    private readonly byte[] _separator;
    private readonly int _firstMeasure;
    private readonly int _required;
    private readonly long? _lengthMs;

    // A producer writes the properties in the same order every time: what was at a position before is tried first.
    private readonly sbyte[] _guesses = new sbyte[MaxGuesses];

    public TypeDecoder(MetricType type, DimensionTable dimensions, FutureLimit limit)
    {
        (_type, _dimensions, _limit) = (type, dimensions, limit);
        _lengthMs = type.WindowSeconds * 1000L;
        _separator = Encoding.UTF8.GetBytes(type.Separator);
        _firstMeasure = FirstDimension + type.DimensionFields.Count;
        _required = (1 << _firstMeasure) - 1 - (1 << EndSlot);

        // Without a length, the end is one of the fields that are ignored.
        string?[] names = [type.TimeField, _lengthMs is null ? null : type.EndField, .. type.DimensionFields, .. type.Measures.Select(measure => measure.Field)];
        _names = Array.ConvertAll(names, name => name is null ? null : Encoding.UTF8.GetBytes(name));
        Array.Fill(_guesses, (sbyte)NoSlot);
    }

    /// <summary>The fast path: decodes a row that is plain, complete and valid. Anything else is left to the full path.</summary>
    /// <returns>False if the full path must decode the value.</returns>
    public bool TryDecodePlain(ReadOnlySpan<byte> value, out Row row)
    {
        row = default;
        long start = 0, end = 0;
        Span<long> values = stackalloc long[_type.Measures.Count];
        ReadOnlySpan<byte> first = default, second = default, third = default;
        var (seen, present) = (0, 0);
        var isEnd = false;
        var reader = new PlainReader(value);
        var isPlain = reader.TryStart();
        for (var position = 0; !isEnd; position++)
        {
            if (!isPlain || !reader.TryName(out var name))
            {
                return false;
            }

            var slot = SlotOf(name, position);
            if (slot == NoSlot)
            {
                isPlain = reader.TrySkip();
            }
            else if ((seen & (1 << slot)) != 0)
            {
                // A repeated property is left to the full path, which knows which one counts.
                return false;
            }
            else
            {
                seen |= 1 << slot;
                isPlain = slot switch
                {
                    StartSlot => reader.TryTime(_type.TimeUnit, out start),
                    EndSlot => reader.TryTime(_type.TimeUnit, out end),
                    FirstDimension => TryReadDimension(ref reader, out first),
                    _ when slot < _firstMeasure => slot == FirstDimension + 1 ? TryReadDimension(ref reader, out second) : TryReadDimension(ref reader, out third),
                    _ => TryReadMeasure(slot - _firstMeasure, ref reader, values, ref present),
                };
            }

            if (!isPlain)
            {
                return false;
            }

            isPlain = reader.TryNext(out isEnd);
        }

        if ((seen & _required) != _required || present == 0 || _limit.IsExceededBy(start)
            || (_lengthMs is { } length && (seen & (1 << EndSlot)) != 0 && end - start != length))
        {
            return false;
        }

        row = Row.Window(start, Join(first, second, third), Measures.Of(values, present));
        return true;
    }

    /// <summary>The full path: decodes or rejects any row.</summary>
    /// <param name="reader">The reader, at the start of the object.</param>
    /// <exception cref="JsonException">The value is not JSON.</exception>
    public Row Decode(ref Utf8JsonReader reader)
    {
        long start = 0, end = 0;
        Span<long> values = stackalloc long[_type.Measures.Count];
        Span<byte> parts = stackalloc byte[MetricType.MaxDimensionFields * RowDecoder.MaxDimensionBytes];
        Span<int> lengths = stackalloc int[MetricType.MaxDimensionFields];
        Span<RejectReason> reasons = stackalloc RejectReason[_names.Length];
        reasons[StartSlot] = RejectReason.NoWindowStart;
        reasons[FirstDimension.._firstMeasure].Fill(RejectReason.NoDimension);
        var present = 0;
        var hasEnd = false;

        // The last of a repeated property counts, so reasons are compared only at the end.
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var slot = SlotOf(ref reader);
            reader.Read();
            switch (slot)
            {
                case NoSlot:
                    reader.Skip();
                    break;

                case StartSlot:
                    reasons[slot] = JsonTime.Read(ref reader, _type.TimeUnit, RejectReason.NoWindowStart, RejectReason.BadWindowStart, out start);
                    break;

                case EndSlot:
                    hasEnd = reader.TokenType != JsonTokenType.Null;
                    reasons[slot] = JsonTime.Read(ref reader, _type.TimeUnit, RejectReason.None, RejectReason.BadWindowEnd, out end);
                    break;

                case var dimension when dimension < _firstMeasure:
                    var number = dimension - FirstDimension;
                    var part = parts.Slice(number * RowDecoder.MaxDimensionBytes, RowDecoder.MaxDimensionBytes);
                    reasons[slot] = JsonText.CopyName(ref reader, part, RejectReason.NoDimension, RejectReason.BadDimension, out lengths[number]);
                    if (HasSeparator(part[..lengths[number]]))
                    {
                        reasons[slot] = RejectReason.BadDimension;
                    }

                    break;

                default:
                    reasons[slot] = ReadMeasure(slot - _firstMeasure, ref reader, values, ref present);
                    break;
            }
        }

        // Only white space may follow the object: on anything else the reader throws.
        reader.Read();

        if (reasons[StartSlot] == RejectReason.None && _limit.IsExceededBy(start))
        {
            reasons[StartSlot] = RejectReason.FutureWindow;
        }

        if (reasons[StartSlot] == RejectReason.None && reasons[EndSlot] == RejectReason.None && hasEnd && end - start != _lengthMs)
        {
            reasons[EndSlot] = RejectReason.WrongWindowLength;
        }

        foreach (var reason in reasons)
        {
            if (reason != RejectReason.None)
            {
                return Row.Reject(reason);
            }
        }

        return present == 0 ? Row.Reject(RejectReason.NoMeasure)
            : Row.Window(start, Join(Part(parts, lengths, 0), Part(parts, lengths, 1), Part(parts, lengths, 2)), Measures.Of(values, present));

        static ReadOnlySpan<byte> Part(Span<byte> parts, Span<int> lengths, int number) => parts.Slice(number * RowDecoder.MaxDimensionBytes, lengths[number]);
    }

    private bool TryReadDimension(scoped ref PlainReader reader, out ReadOnlySpan<byte> text) =>
        reader.TryText(out text) && text.Length is > 0 and <= RowDecoder.MaxDimensionBytes && !HasSeparator(text);

    private bool TryReadMeasure(int number, scoped ref PlainReader reader, scoped Span<long> values, ref int present)
    {
        var measure = _type.Measures[number];
        present |= 1 << number;
        if (measure.Kind == MeasureKind.Count)
        {
            return reader.TryWhole(out values[number]);
        }

        var isNumber = reader.TryNumber(measure.IsSigned, out var value);
        values[number] = BitConverter.DoubleToInt64Bits(value);
        return isNumber;
    }

    private RejectReason ReadMeasure(int number, scoped ref Utf8JsonReader reader, scoped Span<long> values, ref int present)
    {
        var measure = _type.Measures[number];
        var reason = measure.Kind == MeasureKind.Count
            ? JsonNumber.ReadCount(ref reader, out values[number], out var has)
            : JsonNumber.ReadNumber(ref reader, measure.IsSigned, out values[number], out has);
        present = has ? present | (1 << number) : present & ~(1 << number);
        return reason;
    }

    /// <summary>Whether the value of one of several dimension fields contains what joins them.</summary>
    private bool HasSeparator(ReadOnlySpan<byte> part) => _type.DimensionFields.Count > 1 && part.IndexOf(_separator) >= 0;

    /// <summary>Joins the values of the dimension's fields.</summary>
    private Dimension Join(ReadOnlySpan<byte> first, ReadOnlySpan<byte> second, ReadOnlySpan<byte> third)
    {
        var fields = _type.DimensionFields.Count;
        if (fields == 1)
        {
            return _dimensions.Get(first);
        }

        Span<byte> joined = stackalloc byte[first.Length + second.Length + third.Length + (2 * _separator.Length)];
        var length = Append(joined, 0, first);
        length = Append(joined, Append(joined, length, _separator), second);
        length = fields > 2 ? Append(joined, Append(joined, length, _separator), third) : length;
        return _dimensions.Get(joined[..length]);

        static int Append(Span<byte> joined, int at, ReadOnlySpan<byte> part)
        {
            part.CopyTo(joined[at..]);
            return at + part.Length;
        }
    }

    private int SlotOf(ReadOnlySpan<byte> name, int position)
    {
        var guess = position < MaxGuesses ? _guesses[position] : (sbyte)NoSlot;
        if (guess != NoSlot && name.SequenceEqual(_names[guess]))
        {
            return guess;
        }

        for (var slot = 0; slot < _names.Length; slot++)
        {
            if (_names[slot] is { } known && name.SequenceEqual(known))
            {
                if (position < MaxGuesses)
                {
                    _guesses[position] = (sbyte)slot;
                }

                return slot;
            }
        }

        return NoSlot;
    }

    private int SlotOf(ref Utf8JsonReader reader)
    {
        if (reader.ValueIsEscaped && JsonText.HasLoneSurrogate(reader.ValueSpan))
        {
            return NoSlot;
        }

        for (var slot = 0; slot < _names.Length; slot++)
        {
            if (_names[slot] is { } known && reader.ValueTextEquals(known))
            {
                return slot;
            }
        }

        return NoSlot;
    }
}
