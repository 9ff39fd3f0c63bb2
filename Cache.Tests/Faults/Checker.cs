using Cache.Service.Persist;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;

namespace Cache.Tests.Faults;

/// <summary>A sample of the offsets, and then of Redis.</summary>
/// <param name="Started">When sampling began (<see cref="TimeProvider.GetTimestamp"/>).</param>
/// <param name="Ended">When it ended.</param>
/// <param name="Epoch">The epoch, read first: the rebuild of a partition that it lists had begun before the offset was read.</param>
/// <param name="Committed">The committed offsets, read next; partitions without one are missing.</param>
/// <param name="LettersEnd">The end of the dead-letter topic, read after them.</param>
/// <param name="Redis">Redis, read last: it must contain everything committed before.</param>
/// <param name="Sent">The number of the last row that may have been sent by then.</param>
internal sealed record Sample(
    long Started, long Ended, Epoch Epoch, IReadOnlyDictionary<TopicPartition, long> Committed, long LettersEnd, RedisState Redis, long Sent)
{
    /// <summary>Whether the epoch listed a partition, <c>topic/number</c>, throughout.</summary>
    public bool Covers(string partition) => Epoch.Names(partition) && Redis.Epoch.Names(partition) && Epoch.Id == Redis.Epoch.Id;
}

/// <summary>A period in which Redis lost data.</summary>
internal readonly record struct Loss(long Started, long Ended);

/// <summary>Checks the promises against Kafka and Redis.</summary>
internal static class Checker
{
    /// <summary>The end, once everything has settled: Redis matches the log, and holds nothing else.</summary>
    public static void CheckEnd(KafkaLog log, RedisState redis, Findings findings)
    {
        var retained = log.Retained();
        foreach (var (key, field) in log.Fields.Where(field => retained.Contains(log.Entries[field.Key.Hash])))
        {
            if (!redis.Hashes.TryGetValue(key.Hash, out var hash) || !hash.TryGetValue(key.Name, out var value))
            {
                findings.Add(Breach.Lost, $"{key} is not there, has to be {field.Last} ({field.Partition})");
            }
            else if (value != field.Last)
            {
                findings.Add(
                    field.OffsetOf(value) < 0 ? Breach.Invented : Breach.Regressed,
                    $"{key} is {value} of offset {field.OffsetOf(value)}, has to be {field.Last} of {field.OffsetOf(field.Last)} ({field.Partition})");
            }
        }

        foreach (var entry in retained)
        {
            if (!redis.Indices.TryGetValue(entry.Index, out var index) || !index.TryGetValue(entry.Member, out var score))
            {
                findings.Add(Breach.Lost, $"{entry.Member} is not on {entry.Index}");
            }
            else if (score != entry.Score)
            {
                findings.Add(Breach.Invented, $"{entry.Member} has score {score} on {entry.Index}, has to be {entry.Score}");
            }
        }

        var members = retained.Select(entry => (entry.Index, entry.Member)).ToHashSet();
        var hashes = retained.Select(entry => entry.Hash).ToHashSet();
        foreach (var (name, index) in redis.Indices)
        {
            index.Keys.Where(member => !members.Contains((name, member))).ToList()
                .ForEach(member => findings.Add(Breach.Invented, $"{name} has {member}"));
        }

        foreach (var (name, hash) in redis.Hashes)
        {
            if (!hashes.Contains(name))
            {
                findings.Add(Breach.Invented, $"{name} is there");
                continue;
            }

            hash.Keys.Where(field => !log.Fields.ContainsKey(new(name, field))).ToList()
                .ForEach(field => findings.Add(Breach.Invented, $"{name} has {field}"));
        }

        redis.Foreign.ForEach(key => findings.Add(Breach.Invented, $"{key} is of a type that nobody writes"));
        redis.Lasting.ForEach(key => findings.Add(Breach.Invented, $"{key} never expires"));
    }

    /// <summary>The dead letters: every rejected row at least once, and nothing else.</summary>
    public static void CheckLetters(KafkaLog log, IReadOnlyList<ConsumeResult<byte[]?, byte[]?>> letters, Findings findings)
    {
        var origins = letters.Select(Origin).ToHashSet();
        var rejected = log.Rejected.ToHashSet();
        rejected.Except(origins).ToList().ForEach(origin => findings.Add(Breach.Lost, $"{origin} is not in the dead letters"));
        origins.Except(rejected).ToList().ForEach(origin => findings.Add(Breach.Invented, $"{origin} is in the dead letters"));
    }

    /// <summary>
    /// Every sample: whatever is committed is in Redis or in the dead letters, and whatever had settled there stays.
    /// </summary>
    /// <remarks>
    /// A partition is checked once the epoch in Redis lists it and everything it ever committed is there. A loss of Redis' data or a
    /// new epoch suspends that until both hold again: in the meantime the partition is rewritten, from older rows on.
    /// </remarks>
    public static void CheckHistory(
        KafkaLog log, IReadOnlyList<Sample> samples, IReadOnlyList<Loss> losses, IReadOnlyList<ConsumeResult<byte[]?, byte[]?>> letters, Findings findings)
    {
        var retained = RetainedAt(log.Ledger, samples);
        foreach (var (partition, rows) in log.Partitions)
        {
            CheckHistory(partition, rows, log, samples, losses, retained, findings);
        }

        var firstLetters = new Dictionary<TopicPartitionOffset, long>();
        foreach (var letter in letters.OrderByDescending(letter => letter.Offset.Value))
        {
            firstLetters[Origin(letter)] = letter.Offset.Value;
        }

        foreach (var sample in samples)
        {
            foreach (var origin in log.Rejected.Where(origin =>
                origin.Offset.Value < sample.Committed.GetValueOrDefault(origin.TopicPartition)
                && firstLetters.GetValueOrDefault(origin, long.MaxValue) >= sample.LettersEnd))
            {
                findings.Add(Breach.CommittedEarly, $"{origin} was committed before it was in the dead letters");
            }
        }
    }

    private static void CheckHistory(
        TopicPartition partition, List<(long Offset, LedgerRow Row)> rows, KafkaLog log, IReadOnlyList<Sample> samples, IReadOnlyList<Loss> losses,
        List<Dictionary<string, double>> retained, Findings findings)
    {
        var name = $"{partition.Topic}/{partition.Partition.Value}";
        var floor = new Dictionary<FieldKey, long>();
        var seen = new Dictionary<FieldKey, long>();
        var (next, most, covered, lossesSeen, epoch) = (0, 0L, false, 0, "");
        for (var n = 0; n < samples.Count; n++)
        {
            var sample = samples[n];
            var committed = sample.Committed.GetValueOrDefault(partition);
            if (sample.Redis.Epoch.Id != epoch)
            {
                epoch = sample.Redis.Epoch.Id;
                covered = false;
                seen.Clear();
            }

            while (lossesSeen < losses.Count && losses[lossesSeen].Started <= sample.Ended)
            {
                covered = false;
                seen.Clear();
                lossesSeen++;
            }

            var losing = lossesSeen > 0 && losses[lossesSeen - 1].Ended >= sample.Started;
            var back = most - committed;
            most = Math.Max(most, committed);
            for (; next < rows.Count && rows[next].Offset < most; next++)
            {
                foreach (var (field, _) in rows[next].Row.Fields)
                {
                    floor[new(rows[next].Row.Entry!.Hash, field)] = rows[next].Offset;
                }
            }

            var missing = losing || !sample.Covers(name) ? null : Missing(log, floor, sample, retained[n], seen);
            if (missing is null)
            {
                covered = false;
            }
            else if (!covered)
            {
                covered = back <= 0 && missing.Count == 0;
            }
            else
            {
                if (back > 0)
                {
                    findings.Add(Breach.Regressed, $"{name}: the committed offset went from {most} back to {committed}");
                }

                missing.ForEach(field => findings.Add(field.Breach, $"{name}, committed up to {most}, look {n}: {field.What}"));
                covered = back <= 0 && missing.Count == 0;
            }
        }
    }

    private static List<(Breach Breach, string What)> Missing(
        KafkaLog log, Dictionary<FieldKey, long> floor, Sample sample, Dictionary<string, double> retained, Dictionary<FieldKey, long> seen)
    {
        var missing = new List<(Breach, string)>();
        foreach (var (key, least) in floor)
        {
            var field = log.Fields[key];
            var entry = log.Entries[key.Hash];
            if (entry.Score < retained.GetValueOrDefault(entry.Index, double.NegativeInfinity))
            {
                // From now on, it may be trimmed.
                floor.Remove(key);
                continue;
            }

            var value = sample.Redis.Hashes.GetValueOrDefault(key.Hash)?.GetValueOrDefault(key.Name);
            var offset = value is null ? -1 : field.OffsetOf(value);
            if (offset < least)
            {
                var breach = value is not null && offset < 0 ? Breach.Invented
                    : seen.GetValueOrDefault(key, -1) >= least ? Breach.Regressed
                    : Breach.CommittedEarly;
                missing.Add((breach, $"{key} is {value ?? "not there"} of offset {offset}, has to be of {least} at least"));
            }

            seen[key] = Math.Max(seen.GetValueOrDefault(key, -1), offset);
        }

        return missing;
    }

    /// <summary>
    /// Per sample and index, the lowest score that is certainly retained. It takes into account everything that may have been sent
    /// by then, so that no window is expected that may have been trimmed.
    /// </summary>
    private static List<Dictionary<string, double>> RetainedAt(Ledger ledger, IReadOnlyList<Sample> samples)
    {
        var all = new List<Dictionary<string, double>>();
        var windows = new Dictionary<string, SortedSet<double>>();
        using var rows = ledger.Rows.GetEnumerator();
        var more = rows.MoveNext();
        foreach (var sample in samples)
        {
            for (; more && rows.Current.Number <= sample.Sent; more = rows.MoveNext())
            {
                if (rows.Current.Entry is { IsTrimmed: true } entry)
                {
                    if (!windows.TryGetValue(entry.Index, out var starts))
                    {
                        windows[entry.Index] = starts = [];
                    }

                    starts.Add(entry.Score);
                    if (starts.Count > ledger.Retention)
                    {
                        starts.Remove(starts.Min);
                    }
                }
            }

            all.Add(windows.Where(index => index.Value.Count == ledger.Retention).ToDictionary(index => index.Key, index => index.Value.Min));
        }

        return all;
    }

    private static TopicPartitionOffset Origin(ConsumeResult<byte[]?, byte[]?> letter) => new(
        KafkaSide.Header(letter, DeadLetters.TopicHeader),
        new Partition(int.Parse(KafkaSide.Header(letter, DeadLetters.PartitionHeader)!, null)),
        new Offset(long.Parse(KafkaSide.Header(letter, DeadLetters.OffsetHeader)!, null)));
}
