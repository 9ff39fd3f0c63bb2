using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;

namespace Cache.Service.Consume;

/// <summary>Metrics of rows consumed, lag, commits and rebalances.</summary>
internal sealed class ConsumeMetrics
{
    private readonly ConcurrentDictionary<string, RowCounter> _rows = new();
    private readonly Total _withoutType = new();
    private readonly Total _commits = new();
    private readonly Total _commitErrors = new();
    private readonly Total _rebuilds = new();
    private readonly Total _schemaErrors = new();
    private readonly Counter<long> _rebalances;

    public ConsumeMetrics(IMeterFactory meters, Assignment assignment, TimeProvider time)
    {
        var meter = ServiceMeter.Of(meters);
        meter.CreateObservableCounter("cache.kafka.records", () => ByTopic(rows => rows.Value), description: "Rows consumed.");
        meter.CreateObservableCounter("cache.kafka.records.missed", () => ByTopic(rows => rows.Missed),
            description: "Rows that Kafka deleted before they were read.");
        meter.CreateObservableCounter("cache.kafka.records.without.type", () => _withoutType.Value,
            description: "Rows skipped because no metric type has their topic, or more than one has.");
        meter.CreateObservableGauge("cache.kafka.pending.messages", () => assignment.Current.Sum(partition => partition.Pending),
            description: "Rows consumed but not yet committed.");
        meter.CreateObservableGauge("cache.kafka.lag.rows", () => ByPartition(partition => partition.LagRows),
            description: "Rows between what is in Redis and the end of the partition.");
        meter.CreateObservableGauge("cache.kafka.lag", () => ByPartition(partition => partition.LagSeconds(time.GetUtcNow())),
            unit: "s", description: "Upper bound on how far Redis is behind.");
        meter.CreateObservableGauge("cache.kafka.held.back.rows", () => ByPartition(partition => partition.HeldBackRows),
            description: "Rows behind the last stable offset: an open transaction holds them back.");
        meter.CreateObservableGauge("cache.kafka.held.back", () => ByPartition(partition => partition.HeldBackFor(time.GetUtcNow()).TotalSeconds),
            unit: "s", description: "How long the last stable offset has not moved although rows are behind it.");
        meter.CreateObservableGauge("cache.kafka.assigned.partitions", () => assignment.Current.Count, description: "Partitions assigned to this replica.");
        meter.CreateObservableGauge("cache.spare", () => assignment is { IsSpare: true, Current.Count: 0 } ? 1 : 0,
            description: "1 if the group has no partition left for this replica, else 0.");
        meter.CreateObservableCounter("cache.kafka.commit.batches", () => _commits.Value, description: "Commits of offsets.");
        meter.CreateObservableCounter("cache.kafka.commit.errors", () => _commitErrors.Value, description: "Commits of offsets that failed and are retried.");
        meter.CreateObservableCounter("cache.rebuilds", () => _rebuilds.Value, description: "Partitions read again because Redis had lost its data.");
        meter.CreateObservableGauge("cache.schema.waiting.partitions", () => assignment.Current.Count(partition => partition.AwaitsSchema),
            description: "Partitions whose next row awaits a schema.");
        meter.CreateObservableCounter("cache.schema.registry.errors", () => _schemaErrors.Value,
            description: "Requests to the schema registry that failed and are retried.");
        _rebalances = meter.CreateCounter<long>("cache.rebalances", description: "Rebalances, by kind.");

        IEnumerable<Measurement<long>> ByTopic(Func<RowCounter, long> value) =>
            _rows.Select(topic => new Measurement<long>(value(topic.Value), new KeyValuePair<string, object?>("topic", topic.Key)));

        IEnumerable<Measurement<T>> ByPartition<T>(Func<AssignedPartition, T> value)
            where T : struct =>
            assignment.Current.Where(partition => partition.LogEnd >= 0).Select(partition => new Measurement<T>(value(partition), partition.Tags));
    }

    /// <summary>The topics consumed so far.</summary>
    public ICollection<string> Topics => _rows.Keys;

    /// <summary>Gets the row counter of a topic.</summary>
    public RowCounter Rows(string topic) => _rows.GetOrAdd(topic, _ => new RowCounter());

    public void WithoutType() => _withoutType.Add(1);

    public void Committed() => _commits.Add(1);

    public void CommitFailed() => _commitErrors.Add(1);

    public void Rebuilt(int partitions) => _rebuilds.Add(partitions);

    public void SchemaFailed() => _schemaErrors.Add(1);

    public void Rebalanced(string kind) => _rebalances.Add(1, new KeyValuePair<string, object?>("kind", kind));
}
