using System.Diagnostics;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.NoEmit;
using Cache.Service.Decode;
using Cache.Service.Enqueue;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;

namespace Cache.Benchmarks;

/// <summary><c>micro</c>: the stages of a row one by one, with BenchmarkDotNet.</summary>
internal static class MicroVerb
{
    public static Task RunAsync(Run run)
    {
        var config = ManualConfig.CreateMinimumViable()
            .WithArtifactsPath("artifacts/micro")
            .AddDiagnoser(MemoryDiagnoser.Default)
            .AddJob((run.Quick ? Job.ShortRun : Job.Default).WithToolchain(InProcessNoEmitToolchain.Instance));
        foreach (var report in BenchmarkRunner.Run<RowStages>(config).Reports.Where(report => report.ResultStatistics is not null))
        {
            var name = report.BenchmarkCase.Descriptor.WorkloadMethod.Name.ToLowerInvariant();
            run.Report.Add($"micro_{name}_ns_per_row", "ns", report.ResultStatistics!.OriginalValues);
            run.Report.Add($"micro_{name}_bytes_per_row", "B", [report.GcStats.GetBytesAllocatedPerOperation(report.BenchmarkCase) ?? double.NaN]);
        }

        return Task.CompletedTask;
    }
}

/// <summary>The cost of each stage per row, with four dimensions per window.</summary>
public class RowStages
{
    private const int Rows = 10_000;

    private readonly RowDecoder _decoder = new(new CacheOptions(), TimeProvider.System);
    private readonly byte[][] _values = [.. Enumerable.Range(0, Rows).Select(row => BenchmarkRows.Value(row))];
    private readonly byte[][] _spaced;
    private readonly RowQueue _queue = new(new CacheOptions { QueueMaxSize = Rows });
    private readonly Batch _batch = new();
    private readonly QueuedRow[] _rows;

    /// <summary>Decodes the rows for the other stages.</summary>
    public RowStages()
    {
        var partition = new AssignedPartition(new("event_metrics", 0), new RowCounter());
        _spaced = [.. _values.Select(value => (byte[])[(byte)' ', .. value])];
        _rows = [.. _values.Select((value, offset) => new QueuedRow(partition, offset, 0, _decoder.Decode("event_metrics", value)))];
    }

    /// <summary>From bytes to a row.</summary>
    [Benchmark(OperationsPerInvoke = Rows)]
    public long Decode() => DecodeAll(_values);

    /// <summary>The same for rows with leading white space, which need the full reader.</summary>
    [Benchmark(OperationsPerInvoke = Rows)]
    public long DecodeFull() => DecodeAll(_spaced);

    /// <summary>Into the queue and out of it, on one thread.</summary>
    [Benchmark(OperationsPerInvoke = Rows)]
    public long Queue()
    {
        long sum = 0;
        foreach (ref readonly var row in _rows.AsSpan())
        {
            _queue.TryEnqueue(row);
        }

        _queue.HandOver(moreComes: false);
        while (_queue.TryDequeue(out var row))
        {
            sum += row.Offset;
        }

        return sum;
    }

    /// <summary>Into a batch.</summary>
    [Benchmark(OperationsPerInvoke = Rows)]
    public int Coalesce()
    {
        var now = Stopwatch.GetTimestamp();
        _batch.Clear();
        foreach (ref readonly var row in _rows.AsSpan())
        {
            _batch.Add(row, now);
        }

        return _batch.Windows.Count;
    }

    private long DecodeAll(byte[][] values)
    {
        long sum = 0;
        foreach (var value in values)
        {
            sum += _decoder.Decode("event_metrics", value).WindowStart;
        }

        return sum;
    }
}
