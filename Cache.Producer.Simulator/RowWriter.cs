using System.Buffers;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Cache.Metrics;

namespace Cache.Producer.Simulator;

/// <summary>Writes rows as JSON, one at a time, with times in the formats that writers use.</summary>
/// <param name="random">Draws the formats.</param>
internal sealed class RowWriter(Random random) : IDisposable
{
    /// <summary>Leaves '+' and non-ASCII letters unescaped, as other writers do.</summary>
    public static readonly JavaScriptEncoder Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    private readonly ArrayBufferWriter<byte> _buffer = new(512);
    private readonly Utf8JsonWriter _json = new(Stream.Null, new JsonWriterOptions { Encoder = Encoder });

    /// <summary>Begins a row; its fields are written to the result.</summary>
    public Utf8JsonWriter Begin()
    {
        _buffer.ResetWrittenCount();
        _json.Reset(_buffer);
        _json.WriteStartObject();
        return _json;
    }

    /// <summary>Ends the row.</summary>
    /// <returns>Its bytes.</returns>
    public byte[] End()
    {
        _json.WriteEndObject();
        _json.Flush();
        return _buffer.WrittenSpan.ToArray();
    }

    /// <summary>Draws the format of a row's times; <see cref="Time"/> draws the rest.</summary>
    public int Shape() => random.Next(4);

    /// <summary>Writes the start of a window, and mostly its end, in the same format.</summary>
    /// <param name="startName">The field of the start.</param>
    /// <param name="endName">The field of the end.</param>
    /// <param name="start">The start, in milliseconds since 1970 UTC.</param>
    /// <param name="end">The end, likewise.</param>
    /// <param name="unit">What a number counts.</param>
    public void Times(ReadOnlySpan<byte> startName, ReadOnlySpan<byte> endName, long start, long end, TimeUnit unit)
    {
        var shape = Shape();
        Time(startName, start, shape, unit);
        if (random.Next(10) != 0)
        {
            Time(endName, end, shape, unit);
        }
    }

    /// <summary>
    /// Writes a time in one of the four formats in which writers send times: a number, ISO-8601, Flink's SQL format, and the latter
    /// without a zone.
    /// </summary>
    /// <param name="name">The field.</param>
    /// <param name="epoch">The time, in milliseconds since 1970 UTC.</param>
    /// <param name="shape">The format, from <see cref="Shape"/>.</param>
    /// <param name="unit">What a number counts.</param>
    public void Time(ReadOnlySpan<byte> name, long epoch, int shape, TimeUnit unit = TimeUnit.Milliseconds)
    {
        if (shape == 0)
        {
            _json.WriteNumber(name, Number(epoch, unit));
            return;
        }

        var time = DateTimeOffset.FromUnixTimeMilliseconds(epoch);
        var fraction = random.Next(4) switch
        {
            0 when epoch % 1000 == 0 => "",
            1 => ".ffffff",
            2 => ".fff'000000'",
            _ => ".fff",
        };
        if (shape == 1 && random.Next(2) == 0)
        {
            var offset = TimeSpan.FromMinutes(30 * random.Next(-10, 11));
            Formatted(name, time.ToOffset(offset), $"yyyy-MM-dd'T'HH:mm:ss{fraction}zzz");
        }
        else
        {
            Formatted(name, time, $"yyyy-MM-dd'{(shape == 1 ? 'T' : ' ')}'HH:mm:ss{fraction}{(shape == 3 ? "" : "'Z'")}");
        }
    }

    /// <summary>A time as a number.</summary>
    /// <param name="epoch">The time, in milliseconds since 1970 UTC.</param>
    /// <param name="unit">What the number counts; seconds cut off what is finer.</param>
    public static long Number(long epoch, TimeUnit unit) => unit switch
    {
        TimeUnit.Seconds => epoch / 1000,
        TimeUnit.Microseconds => epoch * 1000,
        _ => epoch,
    };

    /// <inheritdoc/>
    public void Dispose() => _json.Dispose();

    private void Formatted(ReadOnlySpan<byte> name, DateTimeOffset time, string format)
    {
        Span<char> text = stackalloc char[40];
        time.TryFormat(text, out var length, format, CultureInfo.InvariantCulture);
        _json.WriteString(name, text[..length]);
    }
}
