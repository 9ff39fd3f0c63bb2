using Cache.Metrics;

namespace Cache.Service.Decode;

/// <summary>
/// Reads plain JSON, as programs write it: one object of strings and numbers, ASCII without escapes, no white space but a single
/// space after a colon or comma. Each method returns false on anything else, be it JSON or not; the value is then read again from
/// its start, by the full path.
/// </summary>
internal ref struct PlainReader(ReadOnlySpan<byte> json)
{
    // 15 digits and these powers of ten are exact in a double, so dividing them rounds once, just as parsing the text does.
    private const int MaxExactDigits = 15;

    // 18 digits never overflow an int64.
    private const int MaxWholeDigits = 18;

    private static readonly double[] PowersOfTen = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

    private readonly ReadOnlySpan<byte> _json = json;
    private int _at;

    /// <summary>Reads the start of an object.</summary>
    public bool TryStart() => TryTake((byte)'{');

    /// <summary>Reads a property name and its colon.</summary>
    public bool TryName(out ReadOnlySpan<byte> name) => TryText(out name) && TryTakeWithBlank((byte)':');

    /// <summary>Reads a comma, or the end of the object, which must be the end of the value.</summary>
    public bool TryNext(out bool isEnd)
    {
        isEnd = _at == _json.Length - 1 && _json[_at] == '}';
        return isEnd || TryTakeWithBlank((byte)',');
    }

    /// <summary>Reads a string.</summary>
    public bool TryText(out ReadOnlySpan<byte> text)
    {
        text = default;
        if (!TryTake((byte)'"'))
        {
            return false;
        }

        for (var end = _at; end < _json.Length; end++)
        {
            switch (_json[end])
            {
                case (byte)'"':
                    text = _json[_at..end];
                    _at = end + 1;
                    return true;

                case < 0x20 or >= 0x7F or (byte)'\\':
                    return false;

                default:
                    break;
            }
        }

        return false;
    }

    /// <summary>Reads a whole number that is not negative, of up to 18 digits.</summary>
    public bool TryWhole(out long number)
    {
        number = 0;
        return TryDigits(ref number, MaxWholeDigits, out _) && !IsInNumber();
    }

    /// <summary>Reads a number of up to 15 digits, with or without a fraction.</summary>
    /// <param name="signed">Whether it may be negative.</param>
    /// <param name="number">The number; never -0.</param>
    public bool TryNumber(bool signed, out double number)
    {
        long digits = 0;
        number = 0;
        var isNegative = signed && TryTake((byte)'-');
        if (!TryDigits(ref digits, MaxExactDigits, out var whole))
        {
            return false;
        }

        var fraction = 0;
        if (TryTake((byte)'.') && !TryDigits(ref digits, MaxExactDigits - whole, out fraction, mayBeginWithZero: true))
        {
            return false;
        }

        number = (isNegative ? -digits : digits) / PowersOfTen[fraction];
        return !IsInNumber();
    }

    /// <summary>Reads a time in any format, as milliseconds since 1970 UTC; as text it must not be before that, as a number not before 2001.</summary>
    public bool TryTime(TimeUnit unit, out long milliseconds)
    {
        if (!IsAtText())
        {
            return TryWhole(out var number) & JsonTime.TryConvert(number, unit, out milliseconds) && milliseconds >= JsonTime.EarliestNumber;
        }

        milliseconds = 0;
        return TryText(out var text) && WindowTime.TryParse(text, out milliseconds) && milliseconds >= 0;
    }

    /// <summary>Skips the value of an unknown property.</summary>
    public bool TrySkip() => IsAtText() ? TryText(out _) : TryWhole(out _);

    private readonly bool IsAtText() => _at < _json.Length && _json[_at] == '"';

    private readonly bool IsInNumber() => _at < _json.Length && _json[_at] is (>= (byte)'0' and <= (byte)'9') or (byte)'.' or (byte)'e' or (byte)'E';

    private bool TryDigits(ref long number, int most, out int digits, bool mayBeginWithZero = false)
    {
        var from = _at;
        while (_at < _json.Length && _json[_at] - (uint)'0' <= 9 && _at - from < most)
        {
            number = (number * 10) + (_json[_at] - '0');
            _at++;
        }

        digits = _at - from;
        return digits > 0 && (digits == 1 || mayBeginWithZero || _json[from] != '0');
    }

    private bool TryTake(byte expected)
    {
        if (_at < _json.Length && _json[_at] == expected)
        {
            _at++;
            return true;
        }

        return false;
    }

    private bool TryTakeWithBlank(byte expected)
    {
        if (!TryTake(expected))
        {
            return false;
        }

        TryTake((byte)' ');
        return true;
    }
}
