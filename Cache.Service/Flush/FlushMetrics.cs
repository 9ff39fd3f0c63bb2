using System.Diagnostics.Metrics;
using Cache.Service.Telemetry;

namespace Cache.Service.Flush;

/// <summary>The metrics of writing batches.</summary>
internal sealed class FlushMetrics
{
    private readonly TimeProvider _time;
    private readonly Total _batchErrors = new();
    private readonly Histogram<double> _batchLatency;
    private readonly Histogram<long> _batchRows;
    private readonly Histogram<long> _batchWindows;
    private LastFlush? _lastFlush;

    public FlushMetrics(IMeterFactory meters, TimeProvider time)
    {
        _time = time;
        var meter = ServiceMeter.Of(meters);
        meter.CreateObservableCounter("cache.redis.batch.errors", () => _batchErrors.Value, description: "Attempts to write a batch that failed.");

        // A small batch takes a Redis nearby 0.1 to 0.5 ms.
        _batchLatency = meter.CreateHistogram<double>("cache.redis.batch.latency", unit: "s", description: "Time to write a batch to Redis, retries included.",
            advice: new() { HistogramBucketBoundaries = [0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5] });
        _batchRows = meter.CreateHistogram<long>("cache.batch.rows", description: "Rows per batch.",
            advice: new() { HistogramBucketBoundaries = [1, 10, 100, 1000, 10_000, 100_000] });
        _batchWindows = meter.CreateHistogram<long>("cache.batch.windows", description: "Distinct windows per batch.",
            advice: new() { HistogramBucketBoundaries = [0, 1, 2, 5, 10, 20, 50, 100] });
    }

    /// <summary>The last batch that Redis accepted; null before the first.</summary>
    public LastFlush? LastFlush => Volatile.Read(ref _lastFlush);

    public void BatchFailed() => _batchErrors.Add(1);

    public void BatchWritten(TimeSpan elapsed, long rows, int windows)
    {
        _batchLatency.Record(elapsed.TotalSeconds);
        _batchRows.Record(rows);
        _batchWindows.Record(windows);
        Volatile.Write(ref _lastFlush, new(_time.GetUtcNow().ToUnixTimeMilliseconds(), rows, windows, elapsed.TotalSeconds));
    }
}

/// <summary>A batch that Redis accepted.</summary>
/// <param name="Time">When, milliseconds since 1970 UTC.</param>
/// <param name="Rows">Its rows.</param>
/// <param name="Windows">Its distinct windows.</param>
/// <param name="Seconds">How long the write took, retries included.</param>
internal sealed record LastFlush(long Time, long Rows, int Windows, double Seconds);
