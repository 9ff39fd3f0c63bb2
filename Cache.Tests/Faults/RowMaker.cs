using System.Globalization;
using System.Text;
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
internal sealed class RowMaker(int seed, RowMix mix, Ledger ledger)
{
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
        var start = Rows.Window(window);
        var isEvent = to.Topic == Rows.Events;
        var dimension = $"d{to.Partition.Value}.{_random.Next(mix.Dimensions)}";
        var which = _random.Next(4);
        var fields = new List<(string, string)>();
        var json = new StringBuilder($$"""{"window_start":{{start}},"{{(isEvent ? "event_type" : "device_category")}}":"{{dimension}}" """);
        if (which != 1)
        {
            Measure(isEvent ? "event_count" : "avg_load_time", isEvent ? ".count" : ".avg_load_time", isEvent ? number : number + 0.25);
        }

        if (which != 0)
        {
            Measure(isEvent ? "user_count" : "p95_load_time", isEvent ? ".users" : ".p95_load_time", isEvent ? number : number + 0.5);
        }

        return new(number, to, Encoding.UTF8.GetBytes(json.Append('}').ToString()), Entry.Window(isEvent ? "event" : "perf", start), fields, false);

        void Measure(string property, string suffix, double value)
        {
            var text = value.ToString(CultureInfo.InvariantCulture);
            json.Append(CultureInfo.InvariantCulture, $",\"{property}\":{text}");
            fields.Add((dimension + suffix, text));
        }
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
                json.Append(CultureInfo.InvariantCulture, $",\"{name}\":{number}");
                fields.Add((name, Text(number)));
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
