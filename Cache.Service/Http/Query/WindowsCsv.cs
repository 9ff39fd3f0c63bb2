using System.Buffers;
using System.Globalization;
using System.Text;
using Cache.Metrics;

namespace Cache.Service.Http.Query;

/// <summary>
/// Windows as CSV (RFC 4180): one row per window and dimension, so that the columns are always the same and a spreadsheet can
/// pivot them. Times appear twice: in UTC in a format that spreadsheets read, and in milliseconds as in JSON.
/// </summary>
internal static class WindowsCsv
{
    public const string ContentType = "text/csv; charset=utf-8; header=present";

    /// <summary>Writes the header line.</summary>
    public static void WriteHeader(IBufferWriter<byte> answer, MetricType type) => answer.Write(
        $"window_start,window_start_ms,{Cell(string.Join(type.Separator, type.DimensionFields))},{string.Join(',', type.Measures.Select(measure => measure.Name))}\r\n");

    /// <summary>Writes the rows of a window.</summary>
    public static void Write(IBufferWriter<byte> answer, MetricType type, Window window, DimensionFilter? filter)
    {
        foreach (var (name, measures) in Rows(type, window, filter))
        {
            answer.Write(string.Create(
                CultureInfo.InvariantCulture, $"{Time(window.Start)},{window.Start},{Cell(name)},{string.Join(',', measures)}\r\n"));
        }
    }

    /// <summary>A cell: quoted where necessary, and made harmless if a spreadsheet would read it as a formula.</summary>
    public static string Cell(string text)
    {
        if (text is ['=' or '+' or '-' or '@' or '\t' or '\r' or '\n' or '＝' or '＋' or '－' or '＠', ..])
        {
            text = "'" + text;
        }

        return text.AsSpan().ContainsAny("\",\r\n;") || text is [' ', ..] or [.., ' '] ? $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : text;
    }

    private static string Time(long milliseconds)
    {
        // DateTimeOffset ends with the year 9999; the milliseconds alone have to do.
        if (milliseconds is < 0 or > 253402300799999)
        {
            return "";
        }

        var time = DateTimeOffset.FromUnixTimeMilliseconds(milliseconds);
        return time.ToString(milliseconds % 1000 == 0 ? "yyyy-MM-dd HH:mm:ss" : "yyyy-MM-dd HH:mm:ss.fff", CultureInfo.InvariantCulture);
    }

    /// <summary>The measures of each dimension, in the order of the fields in Redis.</summary>
    private static OrderedDictionary<string, string?[]> Rows(MetricType type, Window window, DimensionFilter? filter)
    {
        var rows = new OrderedDictionary<string, string?[]>();
        foreach (var field in window.Fields)
        {
            var name = ((ReadOnlyMemory<byte>)field.Name).Span;
            var dimension = DimensionFilter.DimensionOf(name);
            if (dimension.Length == name.Length || filter?.Selects(name) == false || FieldValue.Text(field.Value) is not { } value)
            {
                continue;
            }

            var key = Encoding.UTF8.GetString(dimension);
            if (!rows.TryGetValue(key, out var row))
            {
                rows[key] = row = new string?[type.Measures.Count];
            }

            if (type.PlaceOf(name[(dimension.Length + 1)..]) is var place and >= 0)
            {
                row[place] = value;
            }
        }

        return rows;
    }
}
