using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Tests.EndToEnd;
using Cache.Tests.Flush;
using Cache.Tests.Simulation;
using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

/// <summary>The client's callbacks in isolation. (The simulation covers every order of them, and several members.)</summary>
public sealed class RebalanceCallbackTests : IOffsetCommit, IDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly LogCapture _log = new();
    private readonly LoggerFactory _loggers;
    private readonly ServiceProvider _services;
    private readonly Assignment _assignment = new();
    private readonly RowQueue _queue;
    private readonly OffsetCommitter _committer;
    private readonly Counters _counters;
    private readonly Callbacks _callbacks = new();
    private readonly IConsumer<RowKey, Row> _consumer;
    private readonly Rebalance _rebalance;
    private readonly List<string> _commits = [];
    private readonly List<TimeSpan> _timeouts = [];
    private readonly List<bool> _ended = [];
    private readonly List<(RevocationStep, string)> _steps = [];
    private bool _flushes = true;
    private bool _refusesCommits;
    private ErrorCode _refusal = ErrorCode.Local_TimedOut;
    private bool _hangs;

    public RebalanceCallbackTests()
    {
        var options = new CacheOptions();

        // The group has committed offset 5 of partition 0, and nothing of the others.
        var lookups = new FakeLookups { Ends = (2, 9), Committed = { [At(0, 0).TopicPartition] = 5 } };
        _loggers = new([_log]);
        _services = new ServiceCollection().AddMetrics().AddEnqueue().AddConsume().AddSingleton<TimeProvider>(_time).AddSingleton(options).AddSingleton(_assignment)
            .AddSingleton(services => new Rebalance(
                _assignment, new StartPositions(lookups, options, Rebalance.Block, _time, NullLogger<StartPositions>.Instance), _queue!, _committer!,
                Block, services.GetRequiredService<ConsumeMetrics>(), _time, _loggers.CreateLogger<Rebalance>()))
            .BuildServiceProvider();
        _queue = _services.GetRequiredService<RowQueue>();
        var metrics = _services.GetRequiredService<ConsumeMetrics>();
        _counters = new(_services.GetRequiredService<System.Diagnostics.Metrics.IMeterFactory>());
        _committer = new(this, _assignment, new Membership(TimeSpan.FromSeconds(45), _time), options, metrics, _time, null!, NullLogger<OffsetCommitter>.Instance);
        _consumer = Proxy.Of<IConsumer<RowKey, Row>>((method, _) => throw new NotSupportedException(method));
        _rebalance = _services.GetRequiredService<Rebalance>();
        new RebalanceCallbacks { Handler = _rebalance }.Attach(_callbacks);
    }

    public void Dispose()
    {
        _committer.Dispose();
        _counters.Dispose();
        _services.Dispose();
        _loggers.Dispose();
    }

    [Fact]
    public void AssignedPartitions_AreHeld_AndStartWhereTheGroupIs()
    {
        Assert.Equal([At(0, 5), At(1, 9)], _callbacks.Assigned(_consumer, 0, 1));

        Assert.Equal([(0, 5, 5, null), (1, 9, -1, AssignedPartition.AnyEpoch)],
            _assignment.Current.Select(partition => (partition.TopicPartition.Partition.Value, partition.Written, partition.Committed, partition.CoveredEpoch)));
        Assert.All(_assignment.Current, partition => Assert.Equal(_time.GetUtcNow(), partition.Since));
        Assert.Equal(1, _counters["cache.rebalances[assigned]"]);
        Assert.Contains("2 partitions assigned, 2 in total: event_metrics[0,1]", Assert.Single(_log.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public void EmptyChange_IsNone()
    {
        Assert.Empty(_callbacks.Assigned(_consumer));
        _callbacks.Revoked(_consumer);

        Assert.Equal((0, 0), (_counters["cache.rebalances[assigned]"], _counters["cache.rebalances[revoked]"]));
        Assert.Empty(_log.Lines);
        Assert.Empty(_timeouts);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 1)]
    public async Task FirstPosition_IsCommittedAtOnce_AndNoOther(int partition, int commits)
    {
        await _committer.StartAsync(CancellationToken.None);
        _callbacks.Assigned(_consumer, partition);

        // The clock stands still, so the interval cannot trigger a commit.
        if (commits > 0)
        {
            await Eventually.HoldsAsync(() => Assert.Equal(["event_metrics [[1]] @9"], _commits), TestTimeout.Full);
        }
        else
        {
            await Eventually.KeepsHoldingAsync(() => Task.Run(() => Assert.Empty(_commits)), TimeSpan.FromMilliseconds(200));
        }

        await _committer.StopAsync(CancellationToken.None);
    }

    [Fact]
    public void RevokedPartitions_AreFlushedThenCommittedThenReleased_AndNoOthers()
    {
        _callbacks.Assigned(_consumer, 0, 1);
        var (first, second) = (_assignment.Current[0], _assignment.Current[1]);
        _queue.TryEnqueue(TestRows.Event(1, "a", count: 1).At(first, 5));
        first.WrittenUpTo(5, 0);
        var before = _log.Lines.Count;

        _callbacks.Revoked(_consumer, 0);

        Assert.Equal(["event_metrics [[0]] @6"], _commits);
        Assert.Equal((false, true, true), (first.Owned, first.MayBeElsewhere, second.Owned));
        Assert.Equal([TimeSpan.FromSeconds(8), TimeSpan.FromSeconds(4)], _timeouts);
        Assert.Equal([(RevocationStep.Flush, "event_metrics [[0]]"), (RevocationStep.Commit, "event_metrics [[0]]")], _steps);
        Assert.Null(_assignment.Revocation);
        Assert.Equal(1, _counters["cache.rebalances[revoked]"]);
        Assert.Contains("1 partitions revoked, their rows written and committed: event_metrics[0]", Assert.Single(_log.Lines.Skip(before)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, false, false)]
    [InlineData(true, true, false)]
    [InlineData(true, false, true)]
    public void RevocationThatRunsOutOfTime_ReleasesItsPartitions_AndSaysSo(bool flushes, bool refusesCommits, bool hangs)
    {
        _callbacks.Assigned(_consumer, 0);
        var partition = _assignment.Current[0];
        _queue.TryEnqueue(TestRows.Event(1, "a", count: 1).At(partition, 5));
        (_flushes, _refusesCommits, _hangs) = (flushes, refusesCommits, hangs);
        var before = _log.Lines.Count;

        _callbacks.Revoked(_consumer, 0);

        Assert.Null(_assignment.Revocation);

        // The row may not be written, so it is not committed.
        Assert.False(partition.Owned);
        Assert.DoesNotContain("event_metrics [[0]] @6", _commits);
        Assert.Contains("1 partitions revoked before all their rows were written or committed: event_metrics[0]", Assert.Single(_log.Lines.Skip(before)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ErrorCode.IllegalGeneration, true)]
    [InlineData(ErrorCode.UnknownMemberId, true)]
    [InlineData(ErrorCode.FencedInstanceId, true)]
    [InlineData(ErrorCode.Local_TimedOut, false)]
    public void RevocationOfAnExpelledMember_WaitsForNothing(ErrorCode refusal, bool givenUp)
    {
        _callbacks.Assigned(_consumer, 0);
        var partition = _assignment.Current[0];
        _queue.TryEnqueue(TestRows.Event(1, "a", count: 1).At(partition, 5));
        (_flushes, _refusesCommits, _refusal) = (false, true, refusal);

        _callbacks.Revoked(_consumer, 0);

        Assert.Equal([givenUp, true], _ended);
        Assert.False(partition.Owned);
    }

    [Fact]
    public void LostPartitions_AreRevoked_WithoutWaitingOrCommitting()
    {
        _callbacks.Assigned(_consumer, 0, 1);
        var (first, second) = (_assignment.Current[0], _assignment.Current[1]);
        first.WrittenUpTo(8, 0);
        var before = _log.Lines.Count;

        _callbacks.Lost(_consumer, 0);

        Assert.Equal((false, true, true), (first.Owned, first.MayBeElsewhere, second.Owned));
        Assert.Empty(_commits);
        Assert.Empty(_timeouts);
        Assert.Equal(1, _counters["cache.rebalances[lost]"]);
        Assert.Contains("1 partitions lost: event_metrics[0]", Assert.Single(_log.Lines.Skip(before)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Leaving_RevokesAndCommitsEverything_BeforeTheClientDoes_AndLetsNoCommitStartAfterwards(bool lost)
    {
        _callbacks.Assigned(_consumer, 0, 1);
        var (first, second) = (_assignment.Current[0], _assignment.Current[1]);
        _queue.TryEnqueue(TestRows.Event(1, "a", count: 1).At(first, 5));

        _rebalance.Leave();

        Assert.Equal(["event_metrics [[0]] @6", "event_metrics [[1]] @9"], _commits);
        Assert.Equal((false, false), (first.Owned, second.Owned));
        Assert.Equal([true, true, true], _ended);
        var before = _log.Lines.Count;

        // The client does the same as it closes; by then there is nothing left to do.
        if (lost)
        {
            _callbacks.Lost(_consumer, 0, 1);
        }
        else
        {
            _callbacks.Revoked(_consumer, 0, 1);
        }

        Assert.Equal(3, _ended.Count);
        Assert.Equal((1, 0), (_counters["cache.rebalances[revoked]"], _counters["cache.rebalances[lost]"]));
        Assert.Equal(before, _log.Lines.Count);

        // Nor is there if the group assigned a partition meanwhile, which goes with the client.
        _callbacks.Assigned(_consumer, 0);
        _assignment.Current[0].WrittenUpTo(7, 0);
        _callbacks.Revoked(_consumer, 0);
        Assert.Equal(2, _commits.Count);
    }

    [Fact]
    public void Block_WaitsUntilTheTimeout_AndReturnsWhetherTheWorkIsDone()
    {
        Assert.True(Rebalance.Block(Task.CompletedTask, TimeSpan.Zero));
        Assert.False(Rebalance.Block(new TaskCompletionSource().Task, TimeSpan.FromMilliseconds(20)));
        Assert.False(Rebalance.Block(Task.FromException(new InvalidOperationException()), TimeSpan.FromSeconds(1)));
    }

    /// <inheritdoc/>
    Task IOffsetCommit.CommitAsync(IReadOnlyList<TopicPartitionOffset> offsets)
    {
        if (_hangs)
        {
            return new TaskCompletionSource().Task;
        }

        if (_refusesCommits)
        {
            return Task.FromException(new KafkaException(_refusal));
        }

        _commits.AddRange(offsets.Select(offset => offset.ToString()));
        return Task.CompletedTask;
    }

    /// <summary>Flushes while the thread waits, if the flush is to work.</summary>
    private bool Block(Task work, TimeSpan timeout)
    {
        _timeouts.Add(timeout);
        _steps.Add(_assignment.Revocation is { } revocation ? (revocation.WaitsFor, string.Join(' ', revocation.Partitions)) : default);
        while (_flushes && _queue.TryDequeue(out var row))
        {
            row.Partition?.WrittenUpTo(row.Offset + 1, 0);
            row.Drained?.SetResult();
        }

        _time.Advance(timeout);
        var done = Rebalance.Block(work, TimeSpan.FromMilliseconds(work.IsCompleted ? 10_000 : 200));
        _ended.Add(work.IsCompleted);
        return done;
    }

    private static TopicPartitionOffset At(int partition, long offset) => new(new TopicPartition(Rows.Events, partition), offset);

    /// <summary>Captures the handlers that the service registers with the builder of its consumer.</summary>
    private sealed class Callbacks() : ConsumerBuilder<RowKey, Row>([])
    {
        public List<TopicPartitionOffset> Assigned(IConsumer<RowKey, Row> consumer, params int[] partitions) =>
            [.. PartitionsAssignedHandler(consumer, [.. partitions.Select(partition => At(partition, 0).TopicPartition)])];

        public void Revoked(IConsumer<RowKey, Row> consumer, params int[] partitions) =>
            PartitionsRevokedHandler(consumer, [.. partitions.Select(partition => At(partition, 6))]);

        public void Lost(IConsumer<RowKey, Row> consumer, params int[] partitions) =>
            PartitionsLostHandler(consumer, [.. partitions.Select(partition => At(partition, 6))]);
    }
}
