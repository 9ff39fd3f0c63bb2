namespace Cache.Service.Decode;

/// <summary>
/// Reads JSON as programs write it: an object of texts and numbers, ASCII without escapes, no white space but one blank behind a
/// colon or a comma. Each method gives false for anything else, also for what is no JSON: the full reader then has the word,
/// from the beginning.
/// </summary>
internal ref struct PlainReader(ReadOnlySpan<byte> json)
{
    // 15 digits, and powers of ten this large, are exact in a double: dividing them rounds once, as reading the text does.
    private const int MaxExactDigits = 15;
    private const int MaxWholeDigits = 18;

    private static readonly double[] PowersOfTen = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

    private readonly ReadOnlySpan<byte> _json = json;
    private int _at;

    /// <summary>The beginning of an object that is not empty.</summary>
    public bool TryStart() => TryTake((byte)'{');

    /// <summary>A property's name, with its colon.</summary>
    public bool TryName(out ReadOnlySpan<byte> name) => TryText(out name) && TryTakeWithBlank((byte)':');

    /// <summary>A comma, or the end of the object and of all there is.</summary>
    public bool TryNext(out bool isEnd)
    {
        isEnd = _at == _json.Length - 1 && _json[_at] == '}';
        return isEnd || TryTakeWithBlank((byte)',');
    }

    /// <summary>A text.</summary>
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

    /// <summary>A whole number that is not negative.</summary>
    public bool TryWhole(out long number)
    {
        number = 0;
        return TryDigits(ref number, MaxWholeDigits, out _) && !IsInNumber();
    }

    /// <summary>A number that is not negative, with or without a fraction.</summary>
    public bool TryNumber(out double number)
    {
        long digits = 0;
        number = 0;
        if (!TryDigits(ref digits, MaxExactDigits, out var whole))
        {
            return false;
        }

        var fraction = 0;
        if (TryTake((byte)'.') && !TryDigits(ref digits, MaxExactDigits - whole, out fraction, mayBeginWithZero: true))
        {
            return false;
        }

        number = digits / PowersOfTen[fraction];
        return !IsInNumber();
    }

    /// <summary>A time, in any of its shapes, as milliseconds since 1970 UTC; not before.</summary>
    public bool TryTime(out long milliseconds)
    {
        if (!IsAtText())
        {
            return TryWhole(out milliseconds);
        }

        milliseconds = 0;
        return TryText(out var text) && WindowTime.TryParse(text, out milliseconds) && milliseconds >= 0;
    }

    /// <summary>A value that nobody asks for.</summary>
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
