using Cache.Metrics;

namespace Cache.Producer.Simulator;

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

    /// <summary>How far back, in windows, late rows reach.</summary>
    internal const int MaxLateWindows = 10;

    // Event time needs a rate even without pacing; this is about what one core sends.
    private const double NominalRate = 100_000;
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

    private sealed class Generation : IDisposable
    {
        private readonly SimulatorOptions _options;
        private readonly int _seed;
        private readonly Random _random;
        private readonly RowWriter _writer;
        private readonly MalformedRows _malformed;
        private readonly TypeRows?[] _others;
        private readonly long _window;
        private readonly double _start;
        private readonly double _step;
        private readonly WindowTotals<(long Count, long Users)> _totals;
        private readonly double[] _loadTimes;
        private readonly List<(string Id, string User, string Device, long Start, long End, int Pages)> _sessions = [];
        private long _index;
        private long _sessionsMade;
        private Row? _lastGood;

        public Generation(SimulatorOptions options, int seed, DateTimeOffset start)
        {
            (_options, _seed) = (options, seed);
            _random = new(seed);
            _writer = new(_random);
            _malformed = new(_random);
            _others = [.. options.Types.Select(type => type.IsDefault ? null : new TypeRows(type, options, _random, _writer, _malformed))];
            _window = options.WindowSeconds * 1000L;
            _start = start.ToUnixTimeMilliseconds();
            _step = 1000 / (options.Rate == 0 ? NominalRate : options.Rate);
            _totals = new(_window);
            _loadTimes = [.. options.DeviceCategories.Select((_, i) => 600.0 + (250 * (i % 5)))];
        }

        public Row Next()
        {
            var i = _index++;
            var now = (long)(_start + (i * _step));

            // One draw decides: malformed, repeated, late or ordinary.
            var draw = _random.NextDouble();
            if ((draw -= _options.MalformedShare) < 0)
            {
                return Malformed(i, now);
            }

            if ((draw -= _options.RepeatShare) < 0 && _lastGood is { } last)
            {
                return last with { Traits = RowTraits.Repeated };
            }

            var late = draw >= 0 && draw < _options.LateShare;
            var back = late ? _random.Next(1, MaxLateWindows + 1) : 0;

            // The types alternate, so that all appear from the start; every fifth row is a session, which is never late.
            var row = !_options.Sessions ? Window(i, now, back)
                : i % 5 == 4 && !late ? Session(now)
                : Window(i - (i / 5), now, back);
            _lastGood = row;
            return late ? row with { Traits = RowTraits.Late } : row;
        }

        public void Dispose() => _writer.Dispose();

        private Row Window(long turn, long now, int back)
        {
            var place = (int)(turn % _others.Length);
            return _others[place] is { } other ? other.Next(now, back)
                : IsEvent(place) ? Event(_totals.Window(now, back))
                : Performance(_totals.Window(now, back));
        }

        private Row Malformed(long turn, long now)
        {
            var place = (int)(turn % _others.Length);
            if (_others[place] is { } other)
            {
                return other.Malformed(now);
            }

            var dimension = Pick(IsEvent(place) ? _options.EventTypes : _options.DeviceCategories);
            var topic = IsEvent(place) ? EventTopic : PerformanceTopic;
            return _malformed.Next(_options.Types[place], topic, [dimension], _totals.Window(now, 0), _window);
        }

        // The default types have rows of their own: the same seed made the same ones before there were others.
        private bool IsEvent(int place) => _options.Types[place] == MetricType.Event;

        private Row Event(long window)
        {
            var type = Pick(_options.EventTypes);
            var (count, users) = _totals[window, type];
            count += _random.Next(1, 4);
            users = users == 0 ? 1 : Math.Min(count, users + _random.Next(2));
            _totals[window, type] = (count, users);

            var json = _writer.Begin();
            Times(window);
            json.WriteString("event_type"u8, type);
            json.WriteNumber("event_count"u8, count);
            json.WriteNumber("user_count"u8, users);
            return new(EventTopic, type, _writer.End(), RowTraits.None);
        }

        private Row Performance(long window)
        {
            var index = _random.Next(_options.DeviceCategories.Count);
            var average = _loadTimes[index] = Math.Clamp(_loadTimes[index] * (0.97 + (0.06 * _random.NextDouble())), 100, 5000);
            var slowest = average * (1.4 + (0.4 * _random.NextDouble()));

            var json = _writer.Begin();
            Times(window);
            json.WriteString("device_category"u8, _options.DeviceCategories[index]);
            json.WriteNumber("avg_load_time"u8, Math.Round(average, 1));
            json.WriteNumber("p95_load_time"u8, Math.Round(slowest, 1));
            return new(PerformanceTopic, _options.DeviceCategories[index], _writer.End(), RowTraits.None);
        }

        private void Times(long window) => _writer.Times("window_start"u8, "window_end"u8, window, window + _window, TimeUnit.Milliseconds);

        // An active session is written again, each time with a later end and one more page.
        private Row Session(long now)
        {
            var slot = _random.Next(MaxActiveSessions);
            if (slot >= _sessions.Count || _random.Next(10) == 0)
            {
                slot = Math.Min(slot, _sessions.Count);
                var opened = (Invariant($"s-{_seed}-{_sessionsMade++}"), Invariant($"u-{_random.Next(10_000)}"),
                    Pick(_options.DeviceCategories), now, now, 0);
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

            var json = _writer.Begin();
            json.WriteString("session_id"u8, session.Id);
            json.WriteString("user_id"u8, session.User);
            var shape = _writer.Shape();
            _writer.Time("start_time"u8, session.Start, shape);
            _writer.Time("end_time"u8, session.End, shape);
            json.WriteNumber("duration"u8, session.End - session.Start);
            json.WriteNumber("page_count"u8, session.Pages);
            json.WriteString("device_category"u8, session.Device);
            return new(SessionTopic, session.Id, _writer.End(), RowTraits.None);
        }

        private string Pick(IReadOnlyList<string> items) => items[_random.Next(items.Count)];

        private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
    }
}
