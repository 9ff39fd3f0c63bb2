using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Text.Json;
using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Enqueue;

namespace Cache.Service.Telemetry;

/// <summary>
/// The service's own instruments. Prometheus names follow from these: dots become underscores, counters end in
/// <c>_total</c>, the unit <c>s</c> in <c>_seconds</c>.
/// </summary>
internal sealed class CacheMetrics
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "Cache.Service";

    private readonly ConcurrentDictionary<string, RecordCount> _records = new();
    private readonly ConcurrentDictionary<RejectReason, long> _deadLetters = new();
    private readonly TimeProvider _time;
    private LastFlush? _lastFlush;
    private volatile bool _isReady;
    private readonly Total _commits = new();
    private readonly Total _commitErrors = new();
    private readonly Total _batchErrors = new();
    private readonly Total _givenUp = new();
    private readonly Total _rebuilds = new();
    private readonly Counter<long> _rebalances;
    private readonly Counter<long> _trimmed;
    private readonly Total _sessionsInactive = new();
    private readonly Total _streamDrops = new();
    private readonly Total _streamClients = new();
    private readonly Total _streamsHeld = new();
    private readonly Total[] _streamCuts = [.. Enum.GetValues<StreamCutReason>().Select(_ => new Total())];
    private readonly Total _updatesIgnored = new();
    private readonly Total[] _connectionsRefused = [.. Enum.GetValues<RefusedConnection>().Select(_ => new Total())];
    private readonly Total _answersHeld = new();
    private readonly Total _answersRefused = new();
    private readonly Total _answersCut = new();
    private readonly Histogram<double> _batchLatency;
    private readonly Histogram<long> _batchRows;
    private readonly Histogram<long> _batchWindows;

    public CacheMetrics(IMeterFactory meters, RowQueue queue, Assignment assignment, TimeProvider time)
    {
        _time = time;
        var meter = meters.Create(MeterName);

        meter.CreateObservableGauge("cache.build.info", () => new Measurement<int>(1, new KeyValuePair<string, object?>("version", BuildInfo.Version)),
            description: "Always 1; its label tells which build this is.");
        meter.CreateObservableGauge("cache.ready", () => _isReady ? 1 : 0, description: "1 when /readyz says so, else 0; a second old at most.");
        meter.CreateObservableCounter("cache.kafka.records",
            () => _records.Select(topic => new Measurement<long>(topic.Value.Value, new KeyValuePair<string, object?>("topic", topic.Key))),
            description: "Rows consumed.");
        meter.CreateObservableCounter("cache.kafka.records.missed",
            () => _records.Select(topic => new Measurement<long>(topic.Value.Missed, new KeyValuePair<string, object?>("topic", topic.Key))),
            description: "Rows that Kafka deleted before they were read.");
        meter.CreateObservableGauge("cache.queue.current.size", () => queue.Count, description: "Rows waiting for a flush.");
        meter.CreateObservableGauge("cache.queue.rejected", () => queue.RejectedBytes, unit: "By",
            description: "Memory that rejected rows waiting for a flush hold; from 32 MiB on the queue is full.");
        meter.CreateObservableGauge("cache.kafka.pending.messages", () => assignment.Current.Sum(partition => partition.Pending),
            description: "Rows consumed and not yet committed.");
        meter.CreateObservableGauge("cache.kafka.lag.rows",
            () => assignment.Current.Where(partition => partition.LogEnd >= 0)
                .Select(partition => new Measurement<long>(partition.LagRows, partition.Tags)),
            description: "Rows between what is in Redis and the end of the partition.");
        meter.CreateObservableGauge("cache.kafka.lag",
            () => assignment.Current.Where(partition => partition.LogEnd >= 0)
                .Select(partition => new Measurement<double>(partition.LagSeconds(time.GetUtcNow()), partition.Tags)),
            unit: "s", description: "How far behind Redis is.");
        meter.CreateObservableGauge("cache.kafka.held.back.rows",
            () => assignment.Current.Where(partition => partition.LogEnd >= 0)
                .Select(partition => new Measurement<long>(partition.HeldBackRows, partition.Tags)),
            description: "Rows behind the last stable offset: an open transaction holds them back.");
        meter.CreateObservableGauge("cache.kafka.held.back",
            () => assignment.Current.Where(partition => partition.LogEnd >= 0)
                .Select(partition => new Measurement<double>(partition.HeldBackFor(time.GetUtcNow()).TotalSeconds, partition.Tags)),
            unit: "s", description: "How long the last stable offset has stood still with rows behind it.");
        meter.CreateObservableGauge("cache.kafka.assigned.partitions", () => assignment.Current.Count, description: "Partitions assigned.");

        meter.CreateObservableCounter("cache.kafka.commit.batches", () => _commits.Value, description: "Commits.");
        meter.CreateObservableCounter("cache.kafka.commit.errors", () => _commitErrors.Value, description: "Commits that failed and are tried again.");
        meter.CreateObservableCounter("cache.redis.batch.errors", () => _batchErrors.Value, description: "Batches that Redis did not take at once.");
        _batchLatency = meter.CreateHistogram<double>("cache.redis.batch.latency", unit: "s", description: "Time to write a batch.",
            advice: new() { HistogramBucketBoundaries = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5] });
        _batchRows = meter.CreateHistogram<long>("cache.batch.rows", description: "Rows a batch.",
            advice: new() { HistogramBucketBoundaries = [1, 10, 100, 1000, 10_000, 100_000] });
        _batchWindows = meter.CreateHistogram<long>("cache.batch.windows", description: "Distinct windows a batch.",
            advice: new() { HistogramBucketBoundaries = [0, 1, 2, 5, 10, 20, 50, 100] });
        meter.CreateObservableCounter("cache.dead.letters",
            () => _deadLetters.Select(letters => new Measurement<long>(letters.Value, new KeyValuePair<string, object?>("reason", letters.Key.Name()))),
            description: "Rows rejected, by reason.");
        meter.CreateObservableCounter("cache.dead.letters.given.up", () => _givenUp.Value, description: "Rejected rows that not even the dead-letter topic took.");
        meter.CreateObservableCounter("cache.rebuilds", () => _rebuilds.Value, description: "Partitions rewound since Redis had lost its data.");
        _rebalances = meter.CreateCounter<long>("cache.rebalances", description: "Rebalances, by kind.");
        meter.CreateObservableUpDownCounter("cache.stream.clients", () => _streamClients.Value, description: "Streams that are open.");
        meter.CreateObservableCounter("cache.stream.drops", () => _streamDrops.Value, description: "Times that a slow stream was told to read everything again.");
        meter.CreateObservableCounter("cache.stream.cuts", () => ByReason<StreamCutReason>(_streamCuts), description: "Streams cut off, by reason: the client took nothing, or all streams together held too much.");
        meter.CreateObservableUpDownCounter("cache.stream.held", () => _streamsHeld.Value, unit: "By", description: "Memory that streams hold that wait for their clients.");
        meter.CreateObservableCounter("cache.updates.ignored", () => _updatesIgnored.Value, description: "Messages on the channel of updates that were none.");
        meter.CreateObservableCounter("cache.http.connections.refused", () => ByReason<RefusedConnection>(_connectionsRefused), description: "Connections closed at once, by reason.");
        meter.CreateObservableUpDownCounter("cache.answers.held", () => _answersHeld.Value, unit: "By", description: "Memory that large answers hold while they are read and sent.");
        meter.CreateObservableCounter("cache.answers.refused", () => _answersRefused.Value, description: "Large answers refused, since others held as much as they may.");
        meter.CreateObservableCounter("cache.answers.cut", () => _answersCut.Value, description: "Answers cut off, since Redis failed after their first bytes were sent.");
        _trimmed = meter.CreateCounter<long>("cache.windows.trimmed", description: "Windows deleted for being past retention, and sessions for having ended too long ago.");
        meter.CreateObservableCounter("cache.sessions.inactive", () => _sessionsInactive.Value, description: "Sessions not written, since they had ended too long ago.");
    }

    /// <summary>What <c>/readyz</c> says, a second old at most.</summary>
    public bool IsReady
    {
        set => _isReady = value;
    }

    /// <summary>The last batch that Redis took; null before the first.</summary>
    public LastFlush? LastFlush => Volatile.Read(ref _lastFlush);

    /// <summary>Rows rejected since the start, by reason.</summary>
    public IReadOnlyDictionary<RejectReason, long> DeadLetterCounts => _deadLetters;

    /// <summary>Of these, rows that not even the dead-letter topic took.</summary>
    public long DeadLettersGivenUp => _givenUp.Value;

    /// <summary>The counter of a topic's rows; cheap enough to count each row.</summary>
    public RecordCount Records(string topic) => _records.GetOrAdd(topic, _ => new RecordCount());

    public void Committed() => _commits.Add(1);

    public void CommitFailed() => _commitErrors.Add(1);

    public void BatchFailed() => _batchErrors.Add(1);

    public void BatchWritten(TimeSpan elapsed, long rows, int windows)
    {
        _batchLatency.Record(elapsed.TotalSeconds);
        _batchRows.Record(rows);
        _batchWindows.Record(windows);
        Volatile.Write(ref _lastFlush, new(_time.GetUtcNow().ToUnixTimeMilliseconds(), rows, windows, elapsed.TotalSeconds));
    }

    public void DeadLetter(RejectReason reason) => _deadLetters.AddOrUpdate(reason, 1, (_, letters) => letters + 1);

    public void DeadLetterGivenUp() => _givenUp.Add(1);

    public void Rebuilt(int partitions) => _rebuilds.Add(partitions);

    public void Rebalanced(string kind) => _rebalances.Add(1, new KeyValuePair<string, object?>("kind", kind));

    public void StreamOpened() => _streamClients.Add(1);

    public void StreamClosed() => _streamClients.Add(-1);

    public void StreamDropped() => _streamDrops.Add(1);

    public void StreamCut(StreamCutReason reason) => _streamCuts[(int)reason].Add(1);

    public void StreamsHold(long bytes) => _streamsHeld.Add(bytes);

    public void UpdateIgnored() => _updatesIgnored.Add(1);

    public void ConnectionRefused(RefusedConnection reason) => _connectionsRefused[(int)reason].Add(1);

    public void AnswersHold(long bytes) => _answersHeld.Add(bytes);

    public void AnswerRefused() => _answersRefused.Add(1);

    public void AnswerCut() => _answersCut.Add(1);

    public void Trimmed(string type, long count)
    {
        if (count > 0)
        {
            _trimmed.Add(count, new KeyValuePair<string, object?>("type", type));
        }
    }

    public void SessionsInactive(int count)
    {
        if (count > 0)
        {
            _sessionsInactive.Add(count);
        }
    }

    private static IEnumerable<Measurement<long>> ByReason<TReason>(Total[] totals)
        where TReason : struct, Enum =>
        totals.Select((total, at) => new Measurement<long>(
            total.Value, new KeyValuePair<string, object?>("reason", JsonNamingPolicy.SnakeCaseLower.ConvertName(Enum.GetNames<TReason>()[at]))));
}

/// <summary>Why a stream was cut off.</summary>
internal enum StreamCutReason
{
    /// <summary>Its client took nothing for a while.</summary>
    TakesNothing,

    /// <summary>Streams that wait for their clients held too much together.</summary>
    NoRoom,
}

/// <summary>Why a connection was closed at once.</summary>
internal enum RefusedConnection
{
    /// <summary>There are as many as there may be.</summary>
    All,

    /// <summary>Its address has as many as one may have.</summary>
    Client,

    /// <summary>It said nothing.</summary>
    Silent,
}

/// <summary>A batch that Redis took.</summary>
/// <param name="Time">When, milliseconds since 1970 UTC.</param>
/// <param name="Rows">Rows in it.</param>
/// <param name="Windows">Distinct windows in it.</param>
/// <param name="Seconds">How long Redis took, retries included.</param>
internal sealed record LastFlush(long Time, long Rows, int Windows, double Seconds);

/// <summary>A sum that is told from the start, also while it is 0.</summary>
internal sealed class Total
{
    private long _value;

    public long Value => Volatile.Read(ref _value);

    public void Add(long number) => Interlocked.Add(ref _value, number);
}

/// <summary>Rows of one topic; written by the consume loop alone.</summary>
internal sealed class RecordCount
{
    private long _value;
    private long _missed;

    public long Value => Volatile.Read(ref _value);

    /// <summary>Rows that Kafka deleted before they were read.</summary>
    public long Missed => Volatile.Read(ref _missed);

    public void Increment() => Volatile.Write(ref _value, _value + 1);

    public void Miss(long rows) => Volatile.Write(ref _missed, _missed + rows);
}
