using System.Collections.Concurrent;
using System.Threading.Channels;
using Cache.Service.Consume;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Tests.EndToEnd;
using Cache.Tests.Flush;
using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

public sealed class OffsetCommitterTests : IAsyncLifetime
{
    private static readonly TimeSpan Session = TimeSpan.FromSeconds(40);

    private readonly FakeTimeProvider _time = new();
    private readonly FakeKafka _kafka = new();
    private readonly Assignment _assignment = new();
    private readonly AssignedPartition _first = TestRows.Partition(0);
    private readonly AssignedPartition _second = TestRows.Partition(1);
    private readonly Membership _membership;
    private readonly ServiceProvider _services;
    private readonly OffsetCommitter _committer;
    private readonly LogCapture _log = new();
    private readonly LoggerFactory _loggers;

    public OffsetCommitterTests()
    {
        _loggers = new([_log]);
        _services = new ServiceCollection().AddMetrics().AddSingleton<TimeProvider>(_time).AddSingleton(new CacheOptions { CommitBatchSize = 10, CommitIntervalMs = 1000 })
            .AddConsume().AddSingleton(_assignment).BuildServiceProvider();
        _membership = new(Session, _time);
        _committer = new(
            _kafka, _assignment, _membership, _services.GetRequiredService<CacheOptions>(), _services.GetRequiredService<ConsumeMetrics>(), _time,
            null!, _loggers.CreateLogger<OffsetCommitter>());
        _assignment.Assign(_first);
        _assignment.Assign(_second);
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        _kafka.Answers();
        await _committer.StopAsync(CancellationToken.None);
        _committer.Dispose();
        await _services.DisposeAsync();
        _loggers.Dispose();
    }

    [Fact]
    public void Commit_CoversWhatIsWritten_NotWhatIsConsumed()
    {
        _first.StartAt(5);
        _first.WrittenUpTo(8, 0);
        _first.Next = 100;

        Assert.True(CommitNow(_first, _second));

        Assert.Equal(["event_metrics [[0]] @8"], _kafka.Commits.Single());
        Assert.Equal((8, -1), (_first.Committed, _second.Committed));
    }

    [Fact]
    public void Commit_IncludesTheStart_SoThatTheNextRunStartsThereToo()
    {
        _first.StartAt(5);
        Assert.True(CommitNow(_first));
        Assert.Equal(["event_metrics [[0]] @5"], _kafka.Commits.Single());
    }

    [Fact]
    public void CommittedOffset_IsNotCommittedAgain()
    {
        _first.WrittenUpTo(8, 0);
        CommitNow(_first);
        Assert.True(CommitNow(_first));
        _second.WrittenUpTo(3, 0);
        Assert.True(CommitNow(_first, _second));

        Assert.Equal([["event_metrics [[0]] @8"], ["event_metrics [[1]] @3"]], _kafka.Commits);
    }

    [Fact]
    public async Task FailedCommits_AreLoggedOnce_AndSoIsTheirRecovery()
    {
        _first.WrittenUpTo(8, 0);
        await FailAsync(ErrorCode.Local_TimedOut, ErrorCode.Local_TimedOut, ErrorCode.RebalanceInProgress, ErrorCode.Local_TimedOut, ErrorCode.UnknownMemberId);
        Assert.True(CommitNow(_first));
        _first.WrittenUpTo(9, 0);
        Assert.True(CommitNow(_first));
        _second.WrittenUpTo(8, 0);
        await FailAsync(ErrorCode.Local_TimedOut);

        Assert.Collection(
            _log.Lines,
            line => Assert.Contains("Commit failed, retrying at every interval: Local: Timed out", line, StringComparison.Ordinal),
            line => Assert.Contains("Commit failed, retrying at every interval: Broker: Unknown member", line, StringComparison.Ordinal),
            line => Assert.Contains("Commits succeed again", line, StringComparison.Ordinal),
            line => Assert.Contains("Commit failed, retrying at every interval: Local: Timed out", line, StringComparison.Ordinal));

        async Task FailAsync(params ErrorCode[] errors)
        {
            _kafka.Fails = true;
            foreach (var error in errors)
            {
                _kafka.Error = error;
                Assert.False(await _committer.CommitNowAsync([_first.TopicPartition, _second.TopicPartition], TimeSpan.Zero));
            }

            _kafka.Fails = false;
        }
    }

    [Fact]
    public void CommitNow_CommitsOnlyThePartitionsAskedFor()
    {
        _first.WrittenUpTo(8, 0);
        _second.WrittenUpTo(9, 0);
        Assert.True(CommitNow(_second));
        Assert.Equal(["event_metrics [[1]] @9"], _kafka.Commits.Single());
    }

    [Fact]
    public void PartitionThatIsNotOwned_IsNotCommitted()
    {
        _first.WrittenUpTo(8, 0);
        _second.WrittenUpTo(9, 0);
        _first.Revoke();
        Assert.True(CommitNow(_first, _second));
        Assert.Equal(["event_metrics [[1]] @9"], _kafka.Commits.Single());
    }

    [Fact]
    public void Commit_ThatFails_IsKeptForTheNext()
    {
        _first.WrittenUpTo(8, 0);
        _kafka.Fails = true;
        Assert.False(CommitNow(_first));
        Assert.Equal(-1, _first.Committed);

        _kafka.Fails = false;
        Assert.True(CommitNow(_first));
        Assert.Equal(["event_metrics [[0]] @8"], _kafka.Commits.Single());
        Assert.Equal(8, _first.Committed);
    }

    [Fact]
    public async Task CommitNow_WhenTheBrokerHangs_WaitsNoLongerThanTheTimeout()
    {
        _first.WrittenUpTo(8, 0);
        _kafka.Hangs();

        var commit = _committer.CommitNowAsync([_first.TopicPartition], TestTimeout.Full);
        Assert.False(Rebalance.Block(commit, TimeSpan.FromMilliseconds(50)));
        Assert.Equal(-1, _first.Committed);

        _kafka.Answers();
        Assert.True(await commit.WaitAsync(TestTimeout.Full));
        Assert.Equal(8, _first.Committed);
    }

    [Fact]
    public async Task CommitNow_BetweenTwoGenerations_IsRetried_UntilTheNextOneIsStable()
    {
        _first.WrittenUpTo(8, 0);
        (_kafka.Fails, _kafka.Error) = (true, ErrorCode.RebalanceInProgress);
        var commit = _committer.CommitNowAsync([_first.TopicPartition], TimeSpan.FromSeconds(10));
        await _kafka.FailedAsync();
        _time.Advance(TimeSpan.FromSeconds(9));
        Assert.False(commit.IsCompleted);

        _kafka.Fails = false;
        await AdvanceUntilAsync(commit);

        Assert.True(await commit);
        Assert.Equal(8, _first.Committed);
    }

    [Fact]
    public async Task CommitNow_BetweenTwoGenerations_GivesUp_AtTheTimeout()
    {
        _first.WrittenUpTo(8, 0);
        (_kafka.Fails, _kafka.Error) = (true, ErrorCode.RebalanceInProgress);
        var commit = _committer.CommitNowAsync([_first.TopicPartition], TimeSpan.FromSeconds(10));
        await AdvanceUntilAsync(commit);
        Assert.False(await commit);
    }

    [Fact]
    public async Task End_WaitsForTheCommitUnderWay_AndLetsNoneStart()
    {
        _first.WrittenUpTo(8, 0);
        _kafka.Hangs();
        var commit = _committer.CommitNowAsync([_first.TopicPartition], TestTimeout.Full);
        var ended = _committer.EndAsync();
        var late = _committer.CommitNowAsync([_first.TopicPartition], TestTimeout.Full);
        Assert.False(ended.IsCompleted);

        _kafka.Answers();
        Assert.True(await commit.WaitAsync(TestTimeout.Full));
        await ended.WaitAsync(TestTimeout.Full);

        _first.WrittenUpTo(9, 0);
        Assert.False(await late.WaitAsync(TestTimeout.Full));
        Assert.False(CommitNow(_first));
        await Assert.ThrowsAsync<MembershipException>(() => _committer.ProveMembershipAsync([new(_first) { First = 8 }]));
        Assert.Equal(["event_metrics [[0]] @8"], _kafka.Commits.Single());
        Assert.Equal(8, _first.Committed);
    }

    [Fact]
    public async Task QuickFlush_AwaitsNoCommit()
    {
        _first.WrittenUpTo(8, 0);
        await _committer.FlushedAsync(Task.CompletedTask, [_first.TopicPartition]);
        Assert.Empty(_kafka.Commits);
    }

    [Fact]
    public async Task Flush_IsAwaited_WhileKafkaAcceptsCommits_WhichProveMembership()
    {
        _first.WrittenUpTo(8, 0);
        var flush = new TaskCompletionSource();
        var flushed = _committer.FlushedAsync(flush.Task, [_first.TopicPartition]);
        var commit = _kafka.NextAsync();
        await AdvanceUntilAsync(commit);
        Assert.Equal(["event_metrics [[0]] @8"], await commit);
        Assert.True(_membership.IsFresh);
        Assert.False(flushed.IsCompleted);

        flush.SetResult();
        await flushed.WaitAsync(TestTimeout.Full);
    }

    [Fact]
    public async Task Flush_BetweenTwoGenerations_IsAwaited_UntilKafkaRefusesTheCommitPermanently()
    {
        _first.WrittenUpTo(8, 0);
        (_kafka.Fails, _kafka.Error) = (true, ErrorCode.RebalanceInProgress);
        var flushed = _committer.FlushedAsync(new TaskCompletionSource().Task, [_first.TopicPartition]);
        await AdvanceUntilAsync(_kafka.FailedAsync());
        Assert.False(flushed.IsCompleted);

        _kafka.Error = ErrorCode.IllegalGeneration;
        await AdvanceUntilAsync(flushed);

        await Assert.ThrowsAsync<MembershipException>(() => flushed);
    }

    [Fact]
    public async Task Flush_Completes_ThoughACommitHangs()
    {
        _first.WrittenUpTo(8, 0);
        _kafka.Hangs();
        var flush = new TaskCompletionSource();
        var flushed = _committer.FlushedAsync(flush.Task, [_first.TopicPartition]);
        await AdvanceUntilAsync(_kafka.AskedAsync());

        flush.SetResult();
        await flushed.WaitAsync(TestTimeout.Full);
    }

    [Fact]
    public void Commits_AreCounted_AndSoAreTheirFailures()
    {
        using var counters = new Counters(_services.GetRequiredService<System.Diagnostics.Metrics.IMeterFactory>());
        _first.WrittenUpTo(8, 0);
        _kafka.Fails = true;
        CommitNow(_first);
        Assert.Equal((0, 1), (counters["cache.kafka.commit.batches"], counters["cache.kafka.commit.errors"]));

        _kafka.Fails = false;
        CommitNow(_first);
        Assert.Equal((1, 1), (counters["cache.kafka.commit.batches"], counters["cache.kafka.commit.errors"]));
    }

    [Fact]
    public async Task FullCommitBatch_IsCommittedAtOnce()
    {
        await _committer.StartAsync(CancellationToken.None);
        _first.WrittenUpTo(9, 0);
        _committer.Flushed(9);
        _first.WrittenUpTo(10, 0);
        _committer.Flushed(1);

        // The clock stands still, so only the number of rows can trigger the commit.
        Assert.Equal(["event_metrics [[0]] @10"], await _kafka.NextAsync());
    }

    [Fact]
    public async Task FewerRows_AreCommittedAtTheEndOfTheInterval()
    {
        await _committer.StartAsync(CancellationToken.None);
        _first.WrittenUpTo(9, 0);
        _committer.Flushed(9);
        var commit = _kafka.NextAsync();
        _time.Advance(TimeSpan.FromMilliseconds(999));
        Assert.False(commit.IsCompleted);
        Assert.Equal(-1, _first.Committed);

        await AdvanceUntilAsync(commit);
        Assert.Equal(["event_metrics [[0]] @9"], await commit);
    }

    [Fact]
    public async Task Failure_IsRetriedAfterTheInterval()
    {
        _kafka.Fails = true;
        await _committer.StartAsync(CancellationToken.None);
        _first.WrittenUpTo(10, 0);
        _committer.Flushed(10);
        await _kafka.FailedAsync();

        _kafka.Fails = false;
        var commit = _kafka.NextAsync();
        await AdvanceUntilAsync(commit);
        Assert.Equal(["event_metrics [[0]] @10"], await commit);
    }

    [Fact]
    public async Task Membership_IsProvedByACommitOfTheCurrentPosition_EvenIfCommittedBefore()
    {
        _first.WrittenUpTo(8, 0);
        CommitNow(_first);
        _time.Advance(Session);
        Assert.False(_membership.IsFresh);

        // The written offset of the second is unknown, so the offset of its first row is committed.
        await _committer.ProveMembershipAsync([new(_first) { First = 8, Next = 10 }, new(_second) { First = 5, Next = 6 }]);

        Assert.Equal(["event_metrics [[0]] @8", "event_metrics [[1]] @5"], _kafka.Commits.Last());
        Assert.True(_membership.IsFresh);
    }

    [Fact]
    public async Task Membership_WhenKafkaRefusesTheCommit_IsNotProved()
    {
        _first.WrittenUpTo(8, 0);
        _kafka.Fails = true;

        await Assert.ThrowsAsync<MembershipException>(() => _committer.ProveMembershipAsync([new(_first) { First = 8 }]));

        Assert.False(_membership.IsFresh);
    }

    [Fact]
    public async Task Membership_CountsFromWhenTheCommitWasSent_NotFromItsAnswer()
    {
        _first.WrittenUpTo(8, 0);
        _kafka.Hangs();
        var proof = _committer.ProveMembershipAsync([new(_first) { First = 8 }]);
        await _kafka.AskedAsync();

        // The process is frozen here.
        _time.Advance(Session);
        _kafka.Answers();
        await proof.WaitAsync(TestTimeout.Full);

        Assert.False(_membership.IsFresh);
    }

    [Fact]
    public async Task Membership_OfAnIdleProcess_IsProvedAgainBeforeItIsDue()
    {
        await _committer.StartAsync(CancellationToken.None);
        _first.StartAt(5);
        CommitNow(_first);
        await _kafka.NextAsync();

        for (var commits = 0; commits < 3; commits++)
        {
            var next = _kafka.NextAsync();
            while (!next.IsCompleted)
            {
                Assert.True(_membership.IsFresh);
                _time.Advance(TimeSpan.FromSeconds(1));
                await Task.WhenAny(next, Task.Delay(20, TestContext.Current.CancellationToken));
            }

            Assert.Equal(["event_metrics [[0]] @5"], await next);
        }
    }

    private bool CommitNow(params AssignedPartition[] partitions)
    {
        var commit = _committer.CommitNowAsync([.. partitions.Select(partition => partition.TopicPartition)], TestTimeout.Full);
        return Rebalance.Block(commit, TestTimeout.Full) && commit.Result;
    }

    /// <summary>Advances the clock step by step, because the committer may not have set its timer yet.</summary>
    private async Task AdvanceUntilAsync(Task task)
    {
        using var deadline = new CancellationTokenSource(TestTimeout.Full);
        while (!task.IsCompleted)
        {
            deadline.Token.ThrowIfCancellationRequested();
            _time.Advance(TimeSpan.FromSeconds(1));
            await Task.WhenAny(task, Task.Delay(5, deadline.Token));
        }
    }

    private sealed class FakeKafka : IOffsetCommit
    {
        private readonly Channel<string[]> _acknowledged = Channel.CreateUnbounded<string[]>();
        private readonly TaskCompletionSource _failed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _asked = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private TaskCompletionSource? _answers;

        /// <summary>The commits acknowledged.</summary>
        public ConcurrentQueue<string[]> Commits { get; } = [];

        public bool Fails { get; set; }

        /// <summary>The error of a failing commit.</summary>
        public ErrorCode Error { get; set; } = ErrorCode.Local_TimedOut;

        public void Hangs() => _answers = new();

        public void Answers() => _answers?.TrySetResult();

        public Task AskedAsync() => _asked.Task.WaitAsync(TestTimeout.Full);

        public Task FailedAsync() => _failed.Task.WaitAsync(TestTimeout.Full);

        public async Task<string[]> NextAsync() => await _acknowledged.Reader.ReadAsync().AsTask().WaitAsync(TestTimeout.Full);

        public async Task CommitAsync(IReadOnlyList<TopicPartitionOffset> offsets)
        {
            _asked.TrySetResult();
            await (_answers?.Task ?? Task.CompletedTask);
            if (Fails)
            {
                _failed.TrySetResult();
                throw new KafkaException(Error);
            }

            string[] commit = [.. offsets.Select(offset => offset.ToString())];
            Commits.Enqueue(commit);
            _acknowledged.Writer.TryWrite(commit);
        }
    }
}
