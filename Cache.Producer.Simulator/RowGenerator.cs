using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Cache.Producer.Simulator;

/// <summary>What is unusual about a row.</summary>
[Flags]
public enum RowTraits
{
    /// <summary>An ordinary row.</summary>
    None = 0,

    /// <summary>Belongs to a window 1 to 10 windows back.</summary>
    Late = 1,

    /// <summary>Repeats the last well-formed row, byte for byte.</summary>
    Repeated = 2,

    /// <summary>Sent up to 10 rows late.</summary>
    OutOfOrder = 4,

    /// <summary>Violates a rule of the format; the service must reject it.</summary>
    Malformed = 8,
}

/// <summary>One row for Kafka.</summary>
/// <param name="Topic">Its topic.</param>
/// <param name="Key">Its key: the dimension, or the session id.</param>
/// <param name="Value">Its value: JSON, unless <see cref="RowTraits.Malformed"/>.</param>
/// <param name="Traits">What is unusual about it.</param>
public readonly record struct Row(string Topic, string Key, byte[] Value, RowTraits Traits);

/// <summary>
/// Generates the rows: the same options, seed and start always yield the same rows, byte for byte. A row carries the running
/// totals of its window and dimension, like those of a stream processor that fires early.
/// </summary>
public sealed class RowGenerator(SimulatorOptions options, int seed, DateTimeOffset start)
{
    /// <summary>The topic of event windows.</summary>
    public const string EventTopic = "event_metrics";

    /// <summary>The topic of performance windows.</summary>
    public const string PerformanceTopic = "performance_metrics";

    /// <summary>The topic of sessions.</summary>
    public const string SessionTopic = "session_metrics";

    // Event time needs a rate even without pacing; this is about what one core sends.
    private const double NominalRate = 100_000;
    private const int MaxLateWindows = 10;
    private const int MaxDisplacement = 10;
    private const int MaxActiveSessions = 100;

    /// <summary>The rows in the order of sending; endless if the count is 0.</summary>
    public IEnumerable<Row> Rows()
    {
        // Each enumeration has its own state, and so starts from the beginning.
        using var state = new Generation(options, seed, start);
        var random = new Random(seed ^ 0x5eed);
        var swapChance = options.OutOfOrderShare >= 0.5 ? 1 : options.OutOfOrderShare / (1 - options.OutOfOrderShare);
        var ahead = new Row[MaxDisplacement + 1];
        int head = 0, filled = 0;
        var left = options.Count == 0 ? long.MaxValue : options.Count;

        while (true)
        {
            while (filled < ahead.Length && left > 0)
            {
                ahead[(head + filled++) % ahead.Length] = state.Next();
                left--;
            }

            if (filled == 0)
            {
                yield break;
            }

            // A row that was swapped once is sent at its turn, so that none is more than MaxDisplacement rows late. The chance
            // compensates for rows that cannot be swapped again.
            var row = ahead[head];
            if (swapChance > 0 && filled > 1 && (row.Traits & RowTraits.OutOfOrder) == 0 && random.NextDouble() < swapChance)
            {
                var other = (head + random.Next(1, filled)) % ahead.Length;
                (row, ahead[other]) = (ahead[other], row with { Traits = row.Traits | RowTraits.OutOfOrder });
            }

            head = (head + 1) % ahead.Length;
            filled--;
            yield return row;
        }
    }

    private sealed class Generation(SimulatorOptions options, int seed, DateTimeOffset start) : IDisposable
    {
        // Relaxed: leaves '+' and non-ASCII letters unescaped, as other writers do.
        private static readonly JsonWriterOptions Json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

        private readonly Random _random = new(seed);
        private readonly ArrayBufferWriter<byte> _buffer = new(512);
        private readonly Utf8JsonWriter _writer = new(Stream.Null, Json);
        private readonly long _window = options.WindowSeconds * 1000L;
        private readonly double _start = start.ToUnixTimeMilliseconds();
        private readonly double _step = 1000 / (options.Rate == 0 ? NominalRate : options.Rate);
        private readonly Dictionary<(long Window, string Dimension), (long Count, long Users)> _totals = [];
        private readonly double[] _loadTimes = [.. options.DeviceCategories.Select((_, i) => 600.0 + (250 * (i % 5)))];
        private readonly List<(string Id, string User, string Device, long Start, long End, int Pages)> _sessions = [];
        private long _index;
        private long _newest = long.MinValue;
        private long _sessionsMade;
        private Row? _lastGood;

        public Row Next()
        {
            var i = _index++;
            var now = (long)(_start + (i * _step));
            var window = now - (now % _window);
            Forget(window);

            // One draw decides: malformed, repeated, late or ordinary.
            var draw = _random.NextDouble();
            if ((draw -= options.MalformedShare) < 0)
            {
                return Malformed(i % 2 == 0, window);
            }

            if ((draw -= options.RepeatShare) < 0 && _lastGood is { } last)
            {
                return last with { Traits = RowTraits.Repeated };
            }

            var late = draw >= 0 && draw < options.LateShare;
            if (late)
            {
                window = Math.Max(0, window - (_random.Next(1, MaxLateWindows + 1) * _window));
            }

            // Events and performance alternate, so that both appear from the start; a session is never late.
            var turn = options.Sessions ? i % 5 : i % 2;
            var row = turn == 4 && !late ? Session(now) : turn % 2 == 0 ? Event(window) : Performance(window);
            _lastGood = row;
            return late ? row with { Traits = RowTraits.Late } : row;
        }

        public void Dispose() => _writer.Dispose();

        private Row Event(long window)
        {
            var type = Pick(options.EventTypes);
            var (count, users) = _totals.GetValueOrDefault((window, type));
            count += _random.Next(1, 4);
            users = users == 0 ? 1 : Math.Min(count, users + _random.Next(2));
            _totals[(window, type)] = (count, users);

            Begin();
            Times(window);
            _writer.WriteString("event_type"u8, type);
            _writer.WriteNumber("event_count"u8, count);
            _writer.WriteNumber("user_count"u8, users);
            return new(EventTopic, type, End(), RowTraits.None);
        }

        private Row Performance(long window)
        {
            var index = _random.Next(options.DeviceCategories.Count);
            var average = _loadTimes[index] = Math.Clamp(_loadTimes[index] * (0.97 + (0.06 * _random.NextDouble())), 100, 5000);
            var slowest = average * (1.4 + (0.4 * _random.NextDouble()));

            Begin();
            Times(window);
            _writer.WriteString("device_category"u8, options.DeviceCategories[index]);
            _writer.WriteNumber("avg_load_time"u8, Math.Round(average, 1));
            _writer.WriteNumber("p95_load_time"u8, Math.Round(slowest, 1));
            return new(PerformanceTopic, options.DeviceCategories[index], End(), RowTraits.None);
        }

        // An active session is written again, each time with a later end and one more page.
        private Row Session(long now)
        {
            var slot = _random.Next(MaxActiveSessions);
            if (slot >= _sessions.Count || _random.Next(10) == 0)
            {
                slot = Math.Min(slot, _sessions.Count);
                var opened = (Invariant($"s-{seed}-{_sessionsMade++}"), Invariant($"u-{_random.Next(10_000)}"),
                    Pick(options.DeviceCategories), now, now, 0);
                if (slot == _sessions.Count)
                {
                    _sessions.Add(opened);
                }
                else
                {
                    _sessions[slot] = opened;
                }
            }

            var session = _sessions[slot];
            session = _sessions[slot] = session with { End = now, Pages = session.Pages + 1 };

            Begin();
            _writer.WriteString("session_id"u8, session.Id);
            _writer.WriteString("user_id"u8, session.User);
            var shape = _random.Next(4);
            Time("start_time"u8, session.Start, shape);
            Time("end_time"u8, session.End, shape);
            _writer.WriteNumber("duration"u8, session.End - session.Start);
            _writer.WriteNumber("page_count"u8, session.Pages);
            _writer.WriteString("device_category"u8, session.Device);
            return new(SessionTopic, session.Id, End(), RowTraits.None);
        }

        // Each breaks one rule; the key is that of the well-formed row.
        private Row Malformed(bool isEvent, long window)
        {
            var (topic, dimensionName, measureName) = isEvent
                ? (EventTopic, "event_type", "event_count")
                : (PerformanceTopic, "device_category", "avg_load_time");
            var dimension = Pick(isEvent ? options.EventTypes : options.DeviceCategories);
            var time = Invariant($"{window}");
            var quoted = $"\"{JsonEncodedText.Encode(dimension, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";

            string Object(string? time, string? dimension, string measure) =>
                "{" + (time is null ? "" : $"\"window_start\":{time},")
                + (dimension is null ? "" : $"\"{dimensionName}\":{dimension},")
                + $"\"{measureName}\":{measure}" + "}";

            var text = _random.Next(20) switch
            {
                0 => "",
                1 => "not json",
                2 => Object(time, quoted, "1")[..^1],
                3 => $"[{Object(time, quoted, "1")}]",
                4 => Choose("null", "42", "\"row\"", "true"),
                5 => Object(null, quoted, "1"),
                6 => Object(Choose("\"yesterday\"", "\"2025-13-45 00:00:00\"", "true", "null", "\"\"", "{}"), quoted, "1"),
                7 => Object(Choose("32472144000000", "\"2999-01-01T00:00:00Z\"", "\"2999-01-01 00:00:00.000\""), quoted, "1"),
                8 => Object(time, null, "1"),
                9 => Object(time, "\"\"", "1"),
                10 => Object(time, $"\"{new string(Choose("x", "é")[0], SimulatorOptions.MaxDimensionBytes + 1)}\"", "1"),
                11 => Object(time, $"\"page{Choose("\\u0007", "\\n", "\\u0000", "\\u007f")}view\"", "1"),
                12 => Object(time, Choose("7", "null", "[\"a\"]"), "1"),
                13 => Object(time, quoted, Choose("true", "{}", "[1]", "\"many\"")),
                14 => Object(time, quoted, "\"12\""),
                15 => Object(time, quoted, Choose("-1", "-9223372036854775808")),
                16 => Object(time, quoted, "1e400"),
                17 => Object(time, quoted, Choose("NaN", "\"NaN\"", "Infinity")),
                18 => isEvent ? Object(time, quoted, "9223372036854775808") : Object(time, quoted, "-0.5"),
                // Over 1 MiB, but otherwise valid. Rare, because each weighs as much as ten thousand others.
                _ => _random.Next(10) == 0
                    ? Object(time, quoted, $"1,\"padding\":\"{new string('x', 1 << 20)}\"")
                    : Object(time, "\"\ufffd\"", "1"),
            };

            var value = Encoding.UTF8.GetBytes(text);
            if (text.Contains('\ufffd', StringComparison.Ordinal))
            {
                // A placeholder for what no string can hold: bytes that are not UTF-8.
                var at = value.AsSpan().IndexOf("\ufffd"u8);
                value[at] = value[at + 1] = value[at + 2] = 0xff;
            }

            return new(topic, dimension, value, RowTraits.Malformed);
        }

        private void Begin()
        {
            _buffer.ResetWrittenCount();
            _writer.Reset(_buffer);
            _writer.WriteStartObject();
        }

        private byte[] End()
        {
            _writer.WriteEndObject();
            _writer.Flush();
            return _buffer.WrittenSpan.ToArray();
        }

        private void Times(long window)
        {
            var shape = _random.Next(4);
            Time("window_start"u8, window, shape);
            if (_random.Next(10) != 0)
            {
                Time("window_end"u8, window + _window, shape);
            }
        }

        // The four formats in which writers send times: epoch ms, ISO-8601, Flink's SQL format, and the latter without a zone.
        private void Time(ReadOnlySpan<byte> name, long epoch, int shape)
        {
            if (shape == 0)
            {
                _writer.WriteNumber(name, epoch);
                return;
            }

            var time = DateTimeOffset.FromUnixTimeMilliseconds(epoch);
            var fraction = _random.Next(4) switch
            {
                0 when epoch % 1000 == 0 => "",
                1 => ".ffffff",
                2 => ".fff'000000'",
                _ => ".fff",
            };
            if (shape == 1 && _random.Next(2) == 0)
            {
                var offset = TimeSpan.FromMinutes(30 * _random.Next(-10, 11));
                Formatted(name, time.ToOffset(offset), $"yyyy-MM-dd'T'HH:mm:ss{fraction}zzz");
            }
            else
            {
                Formatted(name, time, $"yyyy-MM-dd'{(shape == 1 ? 'T' : ' ')}'HH:mm:ss{fraction}{(shape == 3 ? "" : "'Z'")}");
            }
        }

        private void Formatted(ReadOnlySpan<byte> name, DateTimeOffset time, string format)
        {
            Span<char> text = stackalloc char[40];
            time.TryFormat(text, out var length, format, CultureInfo.InvariantCulture);
            _writer.WriteString(name, text[..length]);
        }

        // Drops the windows that late rows can no longer reach.
        private void Forget(long window)
        {
            if (window <= _newest)
            {
                return;
            }

            _newest = window;
            foreach (var key in _totals.Keys.Where(key => key.Window < window - (MaxLateWindows * _window)).ToArray())
            {
                _totals.Remove(key);
            }
        }

        private string Pick(IReadOnlyList<string> items) => items[_random.Next(items.Count)];

        private string Choose(params string[] items) => Pick(items);

        private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
    }
}
