using System.Globalization;
using System.Text;
using System.Text.Json;
using Cache.Metrics;

namespace Cache.Producer.Simulator;

/// <summary>
/// Where the times of a row are. Reads them, and moves them, in all formats that the service reads; every other byte of the row
/// stays as it is.
/// </summary>
internal sealed class RowTimes
{
    // yyyy-MM-ddTHH:mm and :ss. Fraction and zone, which follow, stay as they are.
    private const int MinuteLength = 16;
    private const int SecondLength = 19;

    private readonly byte[] _start;
    private readonly byte[] _end;
    private readonly decimal _millisecondsPerUnit;
    private readonly bool _isSession;
    private readonly long _length;

    private RowTimes(string start, string end, TimeUnit unit, bool isSession, int? seconds = null)
    {
        _length = (seconds ?? 0) * 1000L;
        (_start, _end, _isSession) = (Encoding.UTF8.GetBytes(start), Encoding.UTF8.GetBytes(end), isSession);
        _millisecondsPerUnit = unit switch { TimeUnit.Seconds => 1000, TimeUnit.Microseconds => 0.001m, _ => 1 };
    }

    /// <summary>Those of a session; numbers count milliseconds.</summary>
    public static RowTimes OfSessions { get; } = new("start_time", "end_time", TimeUnit.Milliseconds, true);

    /// <summary>Those of a metric type.</summary>
    public static RowTimes Of(MetricType type) => new(type.TimeField, type.EndField, type.TimeUnit, false, type.WindowSeconds);

    /// <summary>Reads when a window starts or a session ends, and how long the window is.</summary>
    /// <param name="row">The row.</param>
    /// <param name="time">Milliseconds since 1970 UTC.</param>
    /// <param name="length">The length of the window in milliseconds; 0 if unknown.</param>
    /// <returns>False if there is no such time, or it is in no format that is known.</returns>
    public bool TryRead(byte[] row, out long time, out long length)
    {
        (time, length) = (0, 0);
        if (Find(row) is not { } found)
        {
            return false;
        }

        // The last of a repeated field counts.
        long? start = null, end = null;
        foreach (var (isEnd, milliseconds, _, _) in found)
        {
            (isEnd ? ref end : ref start) = milliseconds;
        }

        if ((_isSession ? end : start) is not { } known)
        {
            return false;
        }

        time = known;
        length = _length > 0 || _isSession || end is null ? _length : Math.Max(0, end.Value - known);
        return true;
    }

    /// <summary>Moves the times.</summary>
    /// <param name="row">The row, which <see cref="TryRead"/> can read.</param>
    /// <param name="milliseconds">By how much: whole seconds.</param>
    /// <exception cref="ArgumentOutOfRangeException">A time would be outside of the years 1 to 9999.</exception>
    public byte[] Shift(byte[] row, long milliseconds)
    {
        using var shifted = new MemoryStream(row.Length + 16);
        var at = 0;
        foreach (var (_, _, from, to) in Find(row)!)
        {
            shifted.Write(row, at, from - at);
            shifted.Write(Encoding.UTF8.GetBytes(row[from] == '"' ? Text(row.AsSpan(from..to), milliseconds) : Number(row.AsSpan(from..to), milliseconds)));
            at = to;
        }

        shifted.Write(row, at, row.Length - at);
        return shifted.ToArray();
    }

    /// <summary>Finds the times, in the order of the row; null if one of them cannot be read.</summary>
    private List<(bool IsEnd, long Milliseconds, int From, int To)>? Find(byte[] row)
    {
        var found = new List<(bool, long, int, int)>();
        var reader = new Utf8JsonReader(row);
        try
        {
            reader.Read();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var isEnd = reader.ValueTextEquals(_end);
                var isTime = isEnd || reader.ValueTextEquals(_start);
                reader.Read();
                if (!isTime || reader.TokenType == JsonTokenType.Null)
                {
                    reader.Skip();
                }
                else if (Milliseconds(ref reader) is { } milliseconds)
                {
                    found.Add((isEnd, milliseconds, (int)reader.TokenStartIndex, (int)reader.BytesConsumed));
                }
                else
                {
                    return null;
                }
            }

            return found;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private long? Milliseconds(ref Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.String => WindowTime.TryParse(Encoding.UTF8.GetBytes(reader.GetString()!), out var milliseconds) ? milliseconds : null,
        JsonTokenType.Number => TryNumber(reader.ValueSpan, out var number) && Math.Abs(number) < long.MaxValue / 1000 ? (long)Math.Floor(number * _millisecondsPerUnit) : null,
        _ => null,
    };

    private string Number(ReadOnlySpan<byte> text, long milliseconds)
    {
        TryNumber(text, out var number);
        return (number + (milliseconds / _millisecondsPerUnit)).ToString(CultureInfo.InvariantCulture);
    }

    private static bool TryNumber(ReadOnlySpan<byte> text, out decimal number) =>
        decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number);

    private static string Text(ReadOnlySpan<byte> json, long milliseconds)
    {
        var text = JsonSerializer.Deserialize<string>(json)!;
        var hasSeconds = text.Length >= SecondLength && text[MinuteLength] == ':';
        var time = DateTime.ParseExact(
            string.Concat(text.AsSpan(0, 10), " ", text.AsSpan(11, 5), hasSeconds ? text.AsSpan(MinuteLength, 3) : ":00"),
            "yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture).AddMilliseconds(milliseconds);
        var seconds = hasSeconds || time.Second != 0 ? time.ToString("':'ss", CultureInfo.InvariantCulture) : "";
        var rest = text[(hasSeconds ? SecondLength : MinuteLength)..];
        return $"\"{time.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)}{text[10]}{time.ToString("HH:mm", CultureInfo.InvariantCulture)}{seconds}{rest}\"";
    }
}
