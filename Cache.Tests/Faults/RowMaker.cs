using System.Globalization;
using System.Text;
using System.Text.Json;
using Cache.Metrics;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;

namespace Cache.Tests.Faults;

/// <summary>The mix of rows in a campaign.</summary>
internal sealed record RowMix
{
    /// <summary>Partitions per topic.</summary>
    public int Partitions { get; init; } = 2;

    /// <summary>Dimensions per partition.</summary>
    public int Dimensions { get; init; } = 3;

    /// <summary>Rows after which the stream processor starts the next window.</summary>
    public int RowsAWindow { get; init; } = 40;

    /// <summary>Share of malformed rows, 0 to 1.</summary>
    public double Malformed { get; set; }

    /// <summary>Share of rows for windows long past retention, 0 to 1.</summary>
    public double VeryLate { get; init; }

    /// <summary>Share of rows that are sent twice, 0 to 1.</summary>
    public double Repeated { get; init; }
}

/// <summary>Makes rows from a seed. A row's value is its number, so that older values can be told from newer ones.</summary>
/// <param name="seed">Where the draws come from.</param>
/// <param name="mix">The mix.</param>
/// <param name="ledger">Where rows are recorded.</param>
/// <param name="types">The metric types besides the defaults.</param>
internal sealed class RowMaker(int seed, RowMix mix, Ledger ledger, params IReadOnlyList<MetricType> types)
{
    // A number from 2001 on, as milliseconds, that still tells which row is newer.
    private const long FirstStart = 1_000_000_000_000;

    private readonly MetricType[] _types = [.. MetricType.Defaults, .. types];
    private const long InactiveBefore = 100_000_000;

    private readonly Random _random = new(seed);
    private readonly long _now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
    private long _number;
    private LedgerRow? _before;

    /// <summary>Makes a row and records it in the ledger.</summary>
    /// <param name="topics">The topics that exist.</param>
    public LedgerRow Next(IReadOnlyList<string> topics)
    {
        var topic = topics[_random.Next(topics.Count)];
        var to = new TopicPartition(topic, _random.Next(mix.Partitions));
        var number = ++_number;
        var row = _random.NextDouble() < mix.Malformed ? Malformed(number, to)
            : _before is { } before && _random.NextDouble() < mix.Repeated ? before with { Number = number }
            : to.Topic == Rows.Sessions ? Session(number, to)
            : Good(number, to, Window());
        if (row.Entry is not null)
        {
            _before = row;
        }

        ledger.Add(row);
        return row;
    }

    /// <summary>Makes one more row per partition, in the newest window, which causes a last flush.</summary>
    public IEnumerable<LedgerRow> Last(IEnumerable<string> topics)
    {
        foreach (var topic in topics)
        {
            for (var partition = 0; partition < mix.Partitions; partition++)
            {
                var to = new TopicPartition(topic, partition);
                var row = topic == Rows.Sessions ? Session(++_number, to) : Good(++_number, to, Newest);
                ledger.Add(row);
                yield return row;
            }
        }
    }

    private int Newest => (int)(_number / mix.RowsAWindow);

    private int Window()
    {
        if (_random.NextDouble() < mix.VeryLate)
        {
            return Newest - ledger.Retention - _random.Next(50);
        }

        // Most rows are for the last few windows; some are late, up to the edge of retention and beyond.
        return _random.Next(5) == 0 ? Newest - _random.Next(ledger.Retention + 3) : Newest - _random.Next(3);
    }

    private LedgerRow Good(long number, TopicPartition to, int window)
    {
        var type = Array.Find(_types, type => type.Topics.Contains(to.Topic))!;
        var start = Rows.Window(window);
        var parts = type.DimensionFields.Select((_, part) => part == 0 ? $"d{to.Partition.Value}.{_random.Next(mix.Dimensions)}" : $"x{part}").ToList();
        var present = _random.Next(1, 1 << type.Measures.Count);
        var time = type.TimeUnit switch { TimeUnit.Seconds => start / 1000, TimeUnit.Microseconds => start * 1000, _ => start };
        var json = new StringBuilder($"{{{JsonSerializer.Serialize(type.TimeField)}:{time}");
        foreach (var (field, part) in type.DimensionFields.Zip(parts))
        {
            json.Append(CultureInfo.InvariantCulture, $",{JsonSerializer.Serialize(field)}:\"{part}\" ");
        }

        var fields = new List<(string, string)>();
        foreach (var (place, measure) in type.Measures.Index().Where(measure => (present & (1 << measure.Index)) != 0))
        {
            var text = (measure.Kind == MeasureKind.Count ? number : number + (0.125 * (place + 1))).ToString(CultureInfo.InvariantCulture);
            json.Append(CultureInfo.InvariantCulture, $",{JsonSerializer.Serialize(measure.Field)}:{text}");
            fields.Add(($"{string.Join(type.Separator, parts)}.{measure.Name}", text));
        }

        return new(number, to, Encoding.UTF8.GetBytes(json.Append('}').ToString()), Entry.Window(type.Key, start), fields, false);
    }

    private LedgerRow Session(long number, TopicPartition to)
    {
        var id = $"s{to.Partition.Value}.{_random.Next(4 * mix.Dimensions)}";
        if (_random.NextDouble() < mix.VeryLate)
        {
            // Ended long ago: skipped, not a dead letter.
            return new(number, to, Encoding.UTF8.GetBytes(Rows.Session(id, _now - InactiveBefore)), null, [], false);
        }

        var end = _now + number;
        var fields = new List<(string, string)> { ("session_id", id), ("end_time", Text(end)) };
        var json = new StringBuilder(Rows.Session(id, end).TrimEnd('}'));
        foreach (var name in (string[])["start_time", "duration", "page_count"])
        {
            if (_random.Next(2) == 0)
            {
                var value = name == "start_time" ? FirstStart + number : number;
                json.Append(CultureInfo.InvariantCulture, $",\"{name}\":{value}");
                fields.Add((name, Text(value)));
            }
        }

        return new(number, to, Encoding.UTF8.GetBytes(json.Append('}').ToString()), Entry.Session(id, end), fields, false);

        static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
    }

    private LedgerRow Malformed(long number, TopicPartition to)
    {
        var start = Rows.Window(Newest);
        var text = _random.Next(6) switch
        {
            0 => $"no json {number}",
            1 => "[]",
            2 => $$"""{"window_start":{{start}},"event_count":{{number}}}""",
            3 => $$"""{"window_start":"soon","event_type":"a","device_category":"a","event_count":{{number}}}""",
            4 => $$"""{"window_start":{{start}},"end_time":{{_now}},"event_type":"a","device_category":"a","event_count":-1,"avg_load_time":-1}""",
            _ => null,
        };

        // A tombstone is not a row: skipped, not a dead letter.
        return new(number, to, text is null ? null : Encoding.UTF8.GetBytes(text), null, [], Rejected: text is not null);
    }
}
