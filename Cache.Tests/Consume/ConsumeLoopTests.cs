using System.Collections.Concurrent;
using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Service.Hosting;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Tests.EndToEnd;
using Cache.Tests.Flush;
using Cache.Tests.Simulation;
using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

/// <summary>The loop in isolation, on a scripted client. (The simulation covers rebalances and faults in every order.)</summary>
public sealed class ConsumeLoopTests : IDisposable
{
    private readonly FakeTimeProvider _time = new(TimeProvider.System.GetUtcNow());
    private readonly LogCapture _log = new();
    private readonly ServiceProvider _services;
    private readonly Assignment _assignment = new();
    private readonly FakeLookups _kafka = new() { Ends = (2, 90) };
    private readonly StartPositions _positions;
    private readonly KafkaErrors _errors;
    private readonly RebuildRequests _rebuilds = new();
    private readonly RowQueue _queue;
    private readonly Counters _counters;
    private readonly FatalError _fatal;
    private readonly Poller _poller;
    private readonly ConsumeLoop _loop;

    private readonly IConsumer<RowKey, Row> _consumer;
    private readonly EndingRows _rows;
    private readonly ConcurrentQueue<Func<ConsumeResult<RowKey, Row>?>> _deliveries = [];
    private readonly ConcurrentQueue<string> _calls = [];
    private readonly List<double> _waits = [];
    private readonly ManualResetEventSlim _mayClose = new(true);
    private Exception? _refusal;
    private long _highWatermark = Offset.Unset;

    public ConsumeLoopTests()
    {
        var options = new CacheOptions { QueueMaxSize = 4, KafkaBootstrapServers = "kafka:9092", RebuildLookbackSeconds = 3600 };
        _consumer = Proxy.Of<IConsumer<RowKey, Row>>(OnConsumer);
        _rows = new(new SingleRows(_consumer), () => _calls.Enqueue("End"));
        _positions = new(_kafka, options, Rebalance.Block, _time, NullLogger<StartPositions>.Instance);
        _errors = new(_time, NullLogger<KafkaErrors>.Instance);
        _fatal = new(Proxy.Of<IHostApplicationLifetime>((method, _) =>
        {
            _calls.Enqueue(method);
            return null;
        }));
        _services = new ServiceCollection().AddMetrics().AddLogging(logging => logging.AddProvider(_log)).AddPartitions().AddEnqueue().AddConsume()
            .AddSingleton<TimeProvider>(_time).AddSingleton(options).AddSingleton(_assignment).AddSingleton(new Membership(TimeSpan.FromSeconds(45), _time))
            .AddSingleton(_positions).AddSingleton<IKafkaLookups>(_kafka).AddSingleton(_errors).AddSingleton(_rebuilds).AddSingleton(_fatal).AddSingleton(_ => _consumer).AddSingleton<IRowSource>(_rows)
            .BuildServiceProvider();
        _queue = _services.GetRequiredService<RowQueue>();
        _counters = new(_services.GetRequiredService<System.Diagnostics.Metrics.IMeterFactory>());
        _poller = _services.GetRequiredService<Poller>();
        _loop = _services.GetRequiredService<ConsumeLoop>();
    }

    public void Dispose()
    {
        _mayClose.Set();
        _counters.Dispose();
        _services.Dispose();
    }

    [Fact]
    public void Row_GoesToTheQueue_WithItsOrigin()
    {
        var partition = Take(0);
        Deliver(partition, 7);

        Assert.True(_poller.Turn(_rows));

        Assert.True(_queue.TryDequeue(out var row));
        Assert.Same(partition, row.Partition);
        Assert.Equal((7, 1234, RowKind.Window), (row.Offset, row.Timestamp, row.Row.Kind));
        Assert.Equal(8, partition.Next);
        Assert.Equal(1, partition.Records.Value);
    }

    [Fact]
    public void Row_OfAPartitionThatIsNotHeld_IsDropped()
    {
        var partition = Take(0);
        Deliver(TestRows.Partition(1), 7);

        Assert.True(_poller.Turn(_rows));

        Assert.Equal(0, _queue.Count);
        Assert.Equal(-1, partition.Next);
    }

    [Theory]
    [InlineData(9, 8)]
    [InlineData(6, 5)]
    [InlineData(5, -1)]
    [InlineData(4, -1)]
    public void End_CoversRowsThatNobodySees(long end, long skipped)
    {
        var partition = Take(0);
        partition.StartAt(5);
        _deliveries.Enqueue(() => new() { TopicPartitionOffset = new(partition.TopicPartition, end), IsPartitionEOF = true });

        Assert.True(_poller.Turn(_rows));

        Assert.Equal(skipped >= 0, _queue.TryDequeue(out var row));
        Assert.Equal(skipped >= 0 ? (skipped, 0, RowKind.Skipped) : default, (row.Offset, row.Timestamp, row.Row.Kind));
        Assert.Equal(Math.Max(5, end), partition.Next);
        Assert.Equal(0, partition.Records.Value);
    }

    [Fact]
    public void RowsBehindTheLastStableOffset_AreKnownFromWhatWasFetched_OnceASecond()
    {
        var partition = Take(0);
        partition.EndSeen(5, _time.GetUtcNow());
        Assert.True(_poller.Turn(_rows));
        Assert.Equal(0, partition.HeldBackRows);

        _highWatermark = 12;
        Assert.True(_poller.Turn(_rows));
        Assert.Equal(0, partition.HeldBackRows);

        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(_poller.Turn(_rows));
        Assert.Equal(7, partition.HeldBackRows);
    }

    [Fact]
    public void FailureToDeliver_IsLogged_AndTheLoopContinues()
    {
        Fail(ErrorCode.Local_Transport);
        Assert.True(_poller.Turn(_rows));
        Assert.Contains("Kafka did not deliver", Assert.Single(_log.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public void MissingTopic_IsLoggedOnce()
    {
        for (var times = 0; times < 3; times++)
        {
            Fail(ErrorCode.UnknownTopicOrPart);
            Assert.True(_poller.Turn(_rows));
        }

        Assert.Contains("The topic event_metrics does not exist yet", Assert.Single(_log.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public void FatalError_EndsTheLoop()
    {
        Fail(ErrorCode.Local_Fatal, isFatal: true);
        Assert.Throws<ConsumeException>(() => _poller.Turn(_rows));
    }

    [Fact]
    public void FullQueue_PausesOnlyWhenItStaysFull_AndResumesWhenItIsHalfEmpty()
    {
        var (first, second) = (Take(0), Take(1));
        _poller.Turn(_rows);
        Assert.Equal(100, _waits.Last());
        _calls.Clear();
        for (var offset = 0; offset < 5; offset++)
        {
            Deliver(first, offset);
            Assert.True(_poller.Turn(_rows));
        }

        // Four rows are in the queue, one is held back. That may pass, so the client is not called.
        for (var waited = 0; waited <= 200; waited += 50)
        {
            Assert.False(_poller.Turn(_rows));
            _time.Advance(TimeSpan.FromMilliseconds(waited < 200 ? 50 : 1));
        }

        Assert.Empty(_calls);
        Assert.True(_poller.Turn(_rows));
        Assert.Equal(["Pause event_metrics/0 event_metrics/1"], _calls);
        Assert.Equal(5, _waits.Last());

        // It keeps polling. Rows that still arrive are held back too, in order, even though the queue has room by now.
        _queue.TryDequeue(out _);
        Deliver(second, 0);
        Assert.True(_poller.Turn(_rows));
        Assert.Single(_calls);
        Assert.Equal([1, 2, 3, 4], Dequeue(4));
        Assert.True(_poller.Turn(_rows));
        Assert.Equal(["Pause event_metrics/0 event_metrics/1", "Resume event_metrics/0 event_metrics/1"], _calls);
        Assert.Equal(100, _waits.Last());
        Assert.Equal([0], Dequeue(1));
        Assert.Equal(2, _log.Lines.Count);
    }

    [Fact]
    public void QueueThatWasFullForAMoment_PausesNothing_HoweverOftenThatIs()
    {
        var partition = Take(0);
        _poller.Turn(_rows);
        _calls.Clear();
        for (var offset = 0; offset < 20; offset++)
        {
            Deliver(partition, offset);
            Assert.True(_poller.Turn(_rows));
            if (offset >= 4)
            {
                Assert.False(_poller.Turn(_rows));
                _time.Advance(TimeSpan.FromMilliseconds(150));
                Assert.Equal([offset - 4], Dequeue(1));
            }
        }

        Assert.Empty(_calls);
    }

    [Fact]
    public void PartitionAssignedWhilePaused_IsPausedToo_AndOneThatCameBackResumes()
    {
        var partition = Take(0);
        Fill(partition);
        _calls.Clear();

        Take(1);
        Assert.True(_poller.Turn(_rows));
        Assert.Equal(["Pause event_metrics/0 event_metrics/1"], _calls);
        Assert.True(_poller.Turn(_rows));
        Assert.Single(_calls);

        // Rows of revoked partitions are not waited for.
        _assignment.Revoke([partition.TopicPartition]);
        Dequeue(4);
        _calls.Clear();
        Assert.True(_poller.Turn(_rows));
        Assert.Equal(["Resume event_metrics/1"], _calls);
        Assert.Equal(0, _queue.Count);

        Take(0);
        Assert.True(_poller.Turn(_rows));
        Assert.Equal(["Resume event_metrics/1", "Resume event_metrics/1 event_metrics/0"], _calls);
    }

    [Theory]
    [InlineData(ErrorCode.Local_State)]
    [InlineData(ErrorCode.Local_UnknownPartition)]
    public void PartitionOnItsWayToAnotherMember_HoldsUpNoPause(ErrorCode error)
    {
        _refusal = new KafkaException(error);
        Fill(Take(0));
        Assert.Contains("Pause event_metrics/0", _calls);
    }

    [Fact]
    public void PauseThatFailsOtherwise_IsNotHidden()
    {
        _refusal = new KafkaException(ErrorCode.Local_Fatal);
        Take(0);
        Assert.Throws<KafkaException>(() => _poller.Turn(_rows));
    }

    [Fact]
    public void Rebuild_RewindsToTheLookback_ButNeverForward()
    {
        var (back, behind, gone, unknown) = (Take(0), Take(1), Take(2), Take(3));
        back.StartAt(50);
        behind.StartAt(10);
        gone.StartAt(50);
        _assignment.Revoke([gone.TopicPartition]);
        Young(20, back, behind);
        _rebuilds.Add(new("epoch", [back, behind, gone, unknown]));

        Assert.True(_poller.Turn(_rows));

        Assert.Equal(["Seek event_metrics/0 20", "Seek event_metrics/1 10"], _calls.Where(call => call.StartsWith("Seek", StringComparison.Ordinal)));
        Assert.Equal([(3, -1, null), (0, 20, "epoch"), (1, 10, "epoch")],
            _assignment.Current.Select(partition => (partition.TopicPartition.Partition.Value, partition.Written, partition.CoveredEpoch)));
        Assert.False(back.Owned);
        Assert.False(back.MayBeElsewhere);
        Assert.Equal(-1, _assignment.Current[1].Committed);
        Assert.Equal(2, _counters["cache.rebuilds"]);
        Assert.Contains("reading 2 partitions again, 30 rows, from 3600 s ago", _log.ToString(), StringComparison.Ordinal);
        Assert.Contains($"since {_time.GetUtcNow().AddHours(-1).ToUnixTimeMilliseconds()} event_metrics/0 event_metrics/1", _kafka.Asked);
    }

    [Fact]
    public void Rebuild_HoldsUpNothing_WhileKafkaIsAsked()
    {
        var (back, gone) = (Take(0), Take(1));
        back.StartAt(50);
        gone.StartAt(50);
        Young(20, back, gone);
        var gate = new TaskCompletionSource();
        _kafka.Gate = gate.Task;
        _rebuilds.Add(new("epoch", [back, gone]));
        Assert.True(_poller.Turn(_rows));

        // Meanwhile, rows keep arriving, and a partition is revoked.
        Deliver(back, 50);
        Assert.True(_poller.Turn(_rows));
        Assert.True(_queue.TryDequeue(out var row));
        Assert.Equal(50, row.Offset);
        back.WrittenUpTo(51, 0);
        _assignment.Revoke([gone.TopicPartition]);
        Assert.DoesNotContain(_calls, call => call.StartsWith("Seek", StringComparison.Ordinal));
        Assert.Equal(TimeSpan.Zero, _loop.SinceLastHeartbeat);

        gate.SetResult();
        Assert.True(SpinWait.SpinUntil(() => _poller.Turn(_rows) && _calls.Any(call => call.StartsWith("Seek", StringComparison.Ordinal)), TestTimeout.Full));

        Assert.Equal(["Seek event_metrics/0 20"], _calls.Where(call => call.StartsWith("Seek", StringComparison.Ordinal)));
        Assert.Equal((0, 20, "epoch"), Assert.Single(_assignment.Current.Select(partition => (partition.TopicPartition.Partition.Value, partition.Written, partition.CoveredEpoch))));
    }

    [Fact]
    public void RowsThatKafkaDeletedUnread_AreReported_AndTheOldestRowComesNext()
    {
        var (partition, other) = (Take(0), Take(1));
        partition.StartAt(5);
        other.StartAt(5);
        _kafka.Ends = (30, 90);
        Fail(ErrorCode.Local_AutoOffsetReset);

        Assert.True(_poller.Turn(_rows));
        Assert.True(_poller.Turn(_rows));

        Assert.Equal(["IncrementalUnassign event_metrics/0", "IncrementalAssign event_metrics/0 30"], _calls.Where(call => call.StartsWith("Incremental", StringComparison.Ordinal)));
        Assert.Equal(25, partition.Records.Missed);
        Assert.Contains("event_metrics/0 before they were read: offsets 5 to 29, 25 rows", _log.ToString(), StringComparison.Ordinal);

        // The offset is committed whether or not further rows arrive.
        Assert.True(_queue.TryDequeue(out var row));
        Assert.Equal((partition, 29, RowKind.Skipped), (row.Partition, row.Offset, row.Row.Kind));
        Assert.Equal(30, partition.Next);
        Assert.True(partition.Owned);
        Assert.Single(_kafka.Asked);
    }

    [Fact]
    public void RowsThatKafkaDeletedUnread_AreRequestedAgain_UntilKafkaAnswers()
    {
        var partition = Take(0);
        partition.StartAt(5);
        _kafka.Ends = (30, 90);
        _kafka.Failures = 2;
        Fail(ErrorCode.Local_AutoOffsetReset);
        for (var seconds = 0; seconds < 4; seconds++)
        {
            Assert.True(_poller.Turn(_rows));
            Assert.True(_poller.Turn(_rows));
            _time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Equal(3, _kafka.Asked.Count);
        Assert.Equal(30, partition.Next);
    }

    [Fact]
    public void LogThatEndsBeforeTheNextRow_IsReadFromItsOldest()
    {
        var partition = Take(0);
        partition.StartAt(100);
        partition.CoveredEpoch = "epoch";
        Fail(ErrorCode.Local_LogTruncation);

        Assert.True(_poller.Turn(_rows));
        Assert.True(_poller.Turn(_rows));

        var again = Assert.Single(_assignment.Current);
        Assert.NotSame(partition, again);
        Assert.Equal((2, 2, "epoch"), (again.Next, again.Written, again.CoveredEpoch));
        Assert.Contains("log ends before offset 100", _log.ToString(), StringComparison.Ordinal);
        Assert.Equal(0, partition.Records.Missed);
    }

    [Fact]
    public void MissingOffset_OfAPartitionWithoutAKnownStart_IsIgnored()
    {
        Take(0);
        Fail(ErrorCode.Local_AutoOffsetReset);
        Assert.True(_poller.Turn(_rows));
        Assert.True(_poller.Turn(_rows));
        Assert.Empty(_kafka.Asked);
        Assert.Empty(_log.Lines);
    }

    [Theory]
    [InlineData(ErrorCode.TopicAuthorizationFailed, "Kafka refuses the topic event_metrics: the client's user needs the ACL Read and Describe on it")]
    [InlineData(ErrorCode.GroupAuthorizationFailed, "Kafka refuses the consumer group cache-service: the client's user needs the ACL Read on it")]
    public async Task MissingAcl_IsNamedOnce(ErrorCode error, string said)
    {
        await StartAsync();
        await SubscribedAsync();
        for (var times = 0; times < 3; times++)
        {
            Fail(error);
        }

        await Eventually.HoldsAsync(() => Assert.Contains(said, _loop.WaitsFor, StringComparison.Ordinal), TestTimeout.Full);
        await Eventually.HoldsAsync(() => Assert.Empty(_deliveries), TestTimeout.Full);
        Assert.Contains(said, Assert.Single(_log.Lines), StringComparison.Ordinal);
        await _loop.StopAsync(TestContext.Current.CancellationToken).WaitAsync(TestTimeout.Full, TestContext.Current.CancellationToken);
    }

    [Fact]
    public void Rebuild_OfAPartitionThatWasNamedSince_IsNotDone()
    {
        var (named, other) = (Take(0), Take(1));
        named.StartAt(50);
        other.StartAt(50);
        Young(20, other);
        _rebuilds.Add(new("epoch", [named, other]));
        named.CoveredEpoch = "epoch";
        other.CoveredEpoch = "an earlier one";

        Assert.True(_poller.Turn(_rows));

        Assert.Equal(["Seek event_metrics/1 20"], _calls.Where(call => call.StartsWith("Seek", StringComparison.Ordinal)));
        Assert.True(named.Owned);
        Assert.False(other.Owned);
    }

    [Fact]
    public void Rebuild_ThatKafkaDoesNotAnswer_ChangesNothing()
    {
        var partition = Take(0);
        partition.StartAt(50);
        _rebuilds.Add(new("epoch", [partition]));
        _kafka.Failures = 3;

        Assert.True(_poller.Turn(_rows));

        Assert.True(partition.Owned);
        Assert.Equal(0, _counters["cache.rebuilds"]);
        Assert.Contains("could not be rewound yet", _log.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void StartsThatKafkaDidNotReport_AreRequestedEverySecond()
    {
        var (unknown, known) = (Take(0), Take(1));
        known.StartAt(5);
        _positions.AnyUnknown = true;
        _kafka.Failures = 1;
        for (var turns = 0; turns < 3; turns++)
        {
            Assert.True(_poller.Turn(_rows));
        }

        Assert.Equal(["committed event_metrics/0"], Asked());
        _time.Advance(TimeSpan.FromMilliseconds(999));
        _poller.Turn(_rows);
        Assert.Single(Asked());
        Assert.True(_positions.AnyUnknown);
        Assert.Same(unknown, _assignment.Current[0]);

        _kafka.Committed[unknown.TopicPartition] = 7;
        _time.Advance(TimeSpan.FromMilliseconds(1));
        _poller.Turn(_rows);

        Assert.False(_positions.AnyUnknown);
        Assert.Equal(["IncrementalUnassign event_metrics/0", "IncrementalAssign event_metrics/0 7"], _calls.Where(call => call.StartsWith("Incremental", StringComparison.Ordinal)));
        Assert.Equal([(1, 5), (0, 7)], _assignment.Current.Select(partition => (partition.TopicPartition.Partition.Value, partition.Written)));
        _time.Advance(TimeSpan.FromSeconds(2));
        _poller.Turn(_rows);
        Assert.Equal(2, Asked().Count());

        IEnumerable<string> Asked() => _kafka.Asked.Where(question => question.StartsWith("committed", StringComparison.Ordinal));
    }

    [Fact]
    public void StartThatKafkaReports_AfterThePartitionWentAndCameBack_IsNotUsed()
    {
        var unknown = Take(0);
        _positions.AnyUnknown = true;
        var gate = new TaskCompletionSource();
        _kafka.Gate = gate.Task;
        Assert.True(_poller.Turn(_rows));

        // The owner in the meantime has committed more.
        _kafka.Committed[unknown.TopicPartition] = 7;
        _assignment.Revoke([unknown.TopicPartition]);
        var back = Take(0);
        gate.SetResult();
        Assert.True(SpinWait.SpinUntil(() => _kafka.Answered == 1, TestTimeout.Full));
        for (var turns = 0; turns < 3; turns++)
        {
            Assert.True(_poller.Turn(_rows));
        }

        Assert.Same(back, Assert.Single(_assignment.Current));
        Assert.DoesNotContain(_calls, call => call.StartsWith("Incremental", StringComparison.Ordinal));

        _kafka.Committed[unknown.TopicPartition] = 8;
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(SpinWait.SpinUntil(() => _poller.Turn(_rows) && _assignment.Current[0].Next == 8, TestTimeout.Full));
    }

    [Fact]
    public void UnknownStart_OfARevokedPartition_IsNotRequested()
    {
        Take(0).StartAt(5);
        _positions.AnyUnknown = true;
        _poller.Turn(_rows);

        Assert.False(_positions.AnyUnknown);
        Assert.Empty(_kafka.Asked);
    }

    [Fact]
    public void Heartbeat_IsTheLastTurn()
    {
        _poller.Turn(_rows);
        _time.Advance(TimeSpan.FromSeconds(7));
        Assert.Equal(TimeSpan.FromSeconds(7), _loop.SinceLastHeartbeat);
        _poller.Turn(_rows);
        Assert.Equal(TimeSpan.Zero, _loop.SinceLastHeartbeat);
    }

    [Fact]
    public async Task Loop_SubscribesWhenKafkaAnswers_ConsumesAndCommits_AndLeavesTheGroupWhenItIsStopped()
    {
        var partition = Take(0);
        Assert.Equal("the consume loop has not started", _loop.WaitsFor);

        await StartAsync();
        await SubscribedAsync();
        Assert.Equal("partitions are being assigned", _loop.WaitsFor);
        Assert.Contains("Subscribe event_metrics performance_metrics", _calls);
        Deliver(partition, 3);
        await Eventually.HoldsAsync(() => Assert.Equal(4, partition.Next), TestTimeout.Full);
        await _services.GetRequiredService<IOffsetCommit>().CommitAsync([new(partition.TopicPartition, 4)]);
        Assert.Contains("Commit event_metrics/0 4", _calls);
        Assert.True(partition.Owned);
        Assert.DoesNotContain("Close", _calls);

        var stop = _loop.StopAsync(TestContext.Current.CancellationToken);
        await Eventually.HoldsAsync(() => Assert.Contains("End", _calls), TestTimeout.Full);
        Assert.True(_queue.TryDequeue(out _));
        partition.WrittenUpTo(4, 0);
        await Eventually.HoldsAsync(() => Assert.True(_queue.TryDequeue(out var row) && row.Drained!.TrySetResult()), TestTimeout.Full);
        await stop.WaitAsync(TestTimeout.Full, TestContext.Current.CancellationToken);

        // The last commit comes before the client leaves the group.
        Assert.Equal(["End", "Commit event_metrics/0 4", "Close"], _calls.TakeLast(3));
        Assert.False(partition.Owned);
        Assert.False(await _queue.WaitForRowAsync());
        Assert.Equal(0, _fatal.ExitCode);
    }

    [Fact]
    public async Task LoopThatWaitsForKafka_SaysSo_AndCanBeStopped()
    {
        _kafka.Failures = int.MaxValue;
        await StartAsync();
        await Eventually.HoldsAsync(() => Assert.Contains("Waiting for Kafka at kafka:9092", _log.ToString(), StringComparison.Ordinal), TestTimeout.Full);
        Assert.Equal("Kafka at kafka:9092 does not answer yet", _loop.WaitsFor);

        await _loop.StopAsync(TestContext.Current.CancellationToken).WaitAsync(TestTimeout.Full, TestContext.Current.CancellationToken);

        Assert.Equal(["End", "Close"], _calls);
        Assert.Equal(0, _fatal.ExitCode);
    }

    [Fact]
    public async Task LoopThatFails_StopsTheService()
    {
        Fail(ErrorCode.Local_Fatal, isFatal: true);
        await StartAsync();

        await Eventually.HoldsAsync(() => Assert.Contains(nameof(IHostApplicationLifetime.StopApplication), _calls), TestTimeout.Full);

        Assert.Equal(1, _fatal.ExitCode);
        await _loop.StopAsync(TestContext.Current.CancellationToken).WaitAsync(TestTimeout.Full, TestContext.Current.CancellationToken);
        Assert.DoesNotContain("Close", _calls);

        // What it has of the client's would keep the client from being disposed.
        Assert.Contains("End", _calls);
    }

    /// <summary>It runs inside the client, which passes nothing on where rows come in batches.</summary>
    [Fact]
    public async Task CallbackThatFails_StopsTheService()
    {
        var (callbacks, client) = (_services.GetRequiredService<RebalanceCallbacks>(), new Callbacks());
        callbacks.Attach(client);
        await StartAsync();
        await SubscribedAsync();
        callbacks.Handler = null;

        Assert.ThrowsAny<Exception>(() => client.Assigned(_consumer));

        await Eventually.HoldsAsync(() => Assert.Contains(nameof(IHostApplicationLifetime.StopApplication), _calls), TestTimeout.Full);
        Assert.Equal(1, _fatal.ExitCode);
    }

    [Fact]
    public async Task HostThatIsDisposedWithoutAStop_DisposesTheConsumerAfterTheLoop()
    {
        _kafka.Failures = int.MaxValue;
        await StartAsync();
        await Eventually.HoldsAsync(() => Assert.NotEmpty(_kafka.Asked), TestTimeout.Full);

        await _services.DisposeAsync();

        Assert.Equal(["End", "Close", "Dispose"], _calls);
        Assert.Equal(0, _fatal.ExitCode);
    }

    [Fact]
    public async Task HostThatIsDisposedBeforeTheLoopHasBegun_DisposesTheConsumer()
    {
        await _loop.StartedAsync(new CancellationToken(canceled: true));

        await _services.DisposeAsync();

        Assert.Equal("Dispose", _calls.Last());
    }

    [Fact]
    public async Task StopOfALoopThatNeverStarted_WaitsForNothing()
    {
        var partition = Take(0);
        await _loop.StopAsync(TestContext.Current.CancellationToken).WaitAsync(TestTimeout.Full, TestContext.Current.CancellationToken);
        Assert.False(partition.Owned);
        Assert.False(await _queue.WaitForRowAsync());
    }

    [Fact]
    public async Task StopThatHangsInTheClient_EndsAtItsTimeout_WhateverTheHostSays()
    {
        _kafka.Failures = int.MaxValue;
        using var host = new CancellationTokenSource();
        await host.CancelAsync();
        _mayClose.Reset();
        await StartAsync();
        await Eventually.HoldsAsync(() => Assert.NotEmpty(_kafka.Asked), TestTimeout.Full);
        var stop = _loop.StopAsync(host.Token);
        await Eventually.HoldsAsync(() => Assert.Contains("Close", _calls), TestTimeout.Full);

        // The group assigned it too late.
        var partition = Take(0);
        _time.Advance(TimeSpan.FromSeconds(14.9));
        Assert.False(stop.IsCompleted);
        Assert.True(partition.Owned);

        _time.Advance(TimeSpan.FromSeconds(0.2));
        await stop.WaitAsync(TestTimeout.Full, TestContext.Current.CancellationToken);
        Assert.False(partition.Owned);
        Assert.Contains("Leaving the group took too long", _log.ToString(), StringComparison.Ordinal);
        _mayClose.Set();
    }

    private Task StartAsync() => _loop.StartedAsync(TestContext.Current.CancellationToken);

    private AssignedPartition Take(int number)
    {
        var partition = TestRows.Partition(number);
        _assignment.Assign(partition);
        return partition;
    }

    private void Deliver(AssignedPartition partition, long offset) => _deliveries.Enqueue(() => new()
    {
        TopicPartitionOffset = new(partition.TopicPartition, offset),
        Message = new() { Value = TestRows.Event(1, "a", count: offset), Timestamp = new Timestamp(1234, TimestampType.CreateTime) },
    });

    private void Fail(ErrorCode error, bool isFatal = false) => _deliveries.Enqueue(() => throw new ConsumeException(
        new() { TopicPartitionOffset = new(Rows.Events, 0, 0) }, new Error(error, "it failed", isFatal)));

    /// <summary>Fills the queue until the loop pauses partitions.</summary>
    private void Fill(AssignedPartition partition)
    {
        for (var offset = 0; offset < 5; offset++)
        {
            Deliver(partition, offset);
            Assert.True(_poller.Turn(_rows));
        }

        Assert.False(_poller.Turn(_rows));
        _time.Advance(TimeSpan.FromMilliseconds(201));
        Assert.True(_poller.Turn(_rows));
    }

    private List<long> Dequeue(int rows)
    {
        var offsets = new List<long>();
        while (offsets.Count < rows && _queue.TryDequeue(out var row))
        {
            offsets.Add(row.Offset);
        }

        return offsets;
    }

    private Task SubscribedAsync() => Eventually.HoldsAsync(
        () => Assert.Contains(_calls, call => call.StartsWith("Subscribe", StringComparison.Ordinal)), TestTimeout.Full);

    /// <summary>Sets the first row within the lookback.</summary>
    private void Young(long offset, params AssignedPartition[] partitions) =>
        Array.ForEach(partitions, partition => _kafka.Younger[partition.TopicPartition] = offset);

    private object? OnConsumer(string method, object?[] arguments)
    {
        switch (method)
        {
            case nameof(IConsumer<,>.Consume):
                lock (_waits)
                {
                    _waits.Add(((TimeSpan)arguments[0]!).TotalMilliseconds);
                }

                if (_deliveries.TryDequeue(out var delivery))
                {
                    return delivery();
                }

                Thread.Sleep(1);
                return null;
            case nameof(IConsumer<,>.Close):
                _calls.Enqueue(method);
                _mayClose.Wait(TestTimeout.Full);
                return null;
            case nameof(IDisposable.Dispose):
                _calls.Enqueue(method);
                return null;
            case nameof(IConsumer<,>.Subscribe):
                _calls.Enqueue($"Subscribe {string.Join(' ', (IEnumerable<string>)arguments[0]!)}");
                return null;
            case nameof(IConsumer<,>.Seek):
                _calls.Enqueue($"Seek {Text((TopicPartitionOffset)arguments[0]!)}");
                return null;
            case nameof(IConsumer<,>.Commit):
                _calls.Enqueue($"Commit {string.Join(' ', ((IEnumerable<TopicPartitionOffset>)arguments[0]!).Select(Text))}");
                return null;
            case nameof(IConsumer<,>.IncrementalAssign):
                _calls.Enqueue($"IncrementalAssign {string.Join(' ', ((IEnumerable<TopicPartitionOffset>)arguments[0]!).Select(Text))}");
                return null;
            case nameof(IConsumer<,>.Pause) or nameof(IConsumer<,>.Resume) or nameof(IConsumer<,>.IncrementalUnassign):
                _calls.Enqueue($"{method} {string.Join(' ', ((IEnumerable<TopicPartition>)arguments[0]!).Select(Text))}");
                return _refusal is null ? null : throw _refusal;
            case nameof(IConsumer<,>.GetWatermarkOffsets):
                return new WatermarkOffsets(0, _highWatermark);
            default:
                throw new NotSupportedException(method);
        }
    }

    /// <summary>Captures the handlers that the service sets on its consumer's builder.</summary>
    private sealed class Callbacks() : ConsumerBuilder<RowKey, Row>([])
    {
        public void Assigned(IConsumer<RowKey, Row> consumer) => PartitionsAssignedHandler(consumer, []);
    }

    /// <summary>Rows that tell of their end.</summary>
    private sealed class EndingRows(IRowSource rows, Action ended) : IRowSource
    {
        public IConsumer<RowKey, Row> Consumer => rows.Consumer;

        public bool TakesBatches => rows.TakesBatches;

        public bool HasMore => rows.HasMore;

        public bool TryTake(TimeSpan wait, out Received received) => rows.TryTake(wait, out received);

        public void End()
        {
            rows.End();
            ended();
        }
    }

    private static string Text(TopicPartition partition) => $"{partition.Topic}/{partition.Partition.Value}";

    private static string Text(TopicPartitionOffset offset) => $"{Text(offset.TopicPartition)} {offset.Offset.Value}";
}
