using Cache.Service.Decode;
using Cache.Service.Enqueue;
using Cache.Service.Persist;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// The one loop that owns the Kafka consumer, on a thread of its own. It always polls, so that the process never leaves
/// the group for being slow: when the queue is full it pauses its partitions and polls on.
/// </summary>
internal sealed partial class ConsumeLoop(
    IServiceProvider services, Assignment assignment, StartPositions positions, RowQueue queue, RebuildRequests rebuilds,
    CacheOptions options, CacheMetrics metrics, TimeProvider time, FatalError fatal, ILogger<ConsumeLoop> logger)
    : Worker(fatal, time, logger), IHostedLifecycleService, IOffsetCommit
{
    // Pausing throws away what the client has fetched ahead, so a queue that is full for a moment is waited for.
    private static readonly TimeSpan FullPatience = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan PollWait = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan HeldPollWait = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan LongestRetry = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan StartRetry = TimeSpan.FromSeconds(1);

    // A stop has taken up to 15 s by then, and orchestrators kill after 30 s.
    private static readonly TimeSpan EndPatience = TimeSpan.FromSeconds(10);

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly HashSet<string> _missingTopics = [];

    // Rows that the full queue did not take; more than one only if a rebalance brought some in between.
    private readonly Queue<QueuedRow> _held = [];
    private IReadOnlyList<AssignedPartition> _paused = [];
    private IReadOnlyList<AssignedPartition> _running = [];
    private long? _fullSince;
    private long? _startsAskedAt;
    private long _lastBeat = time.GetTimestamp();
    private CancellationToken _stopping;
    private IConsumer<RowKey, Row>? _consumer;

    /// <summary>Time since the loop last came round.</summary>
    public TimeSpan SinceLastBeat => Time.GetElapsedTime(Volatile.Read(ref _lastBeat));

    /// <summary>What the loop waits for before it can consume; null once it does.</summary>
    public string? WaitsFor { get; private set; } = "the consume loop has not started";

    /// <summary>The consumer, once the loop has made it.</summary>
    public IConsumer<RowKey, Row>? Consumer => Volatile.Read(ref _consumer);

    /// <summary>Leaving the group can hang in the client; what is not committed by then is read again.</summary>
    protected override TimeSpan StopPatience => TimeSpan.FromSeconds(15);

    /// <inheritdoc/>
    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public override Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>
    /// Starts the loop, when all else has started: a service that cannot listen, say, has no business in the group.
    /// </summary>
    public Task StartedAsync(CancellationToken cancellationToken) => base.StartAsync(cancellationToken);

    /// <inheritdoc/>
    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        assignment.LetGoOfAll();
        queue.Complete();
    }

    /// <inheritdoc/>
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Ends the loop if nobody has stopped it, and waits for that.</summary>
    public void End()
    {
        // Stops a worker of which nobody waits for the end.
        Dispose();
        ExecuteTask?.Wait(EndPatience);
    }

    /// <inheritdoc/>
    public Task CommitAsync(IReadOnlyList<TopicPartitionOffset> offsets) =>
        // The client's call blocks until the broker answers.
        Task.Run(() => Consumer!.Commit(offsets));

    /// <inheritdoc/>
    protected internal override Task RunAsync(CancellationToken stoppingToken)
    {
        _stopping = stoppingToken;
        new Thread(Run) { IsBackground = true, Name = "consume" }.Start();
        return _ended.Task;
    }

    /// <inheritdoc/>
    protected override void LogFailed(Exception exception) => LogFatal(exception);

    /// <inheritdoc/>
    protected override void LogNotStopped() => LogStopTimedOut();

    private void Run()
    {
        try
        {
            var consumer = services.GetRequiredService<ConsumerLifetime>().Consumer;
            Volatile.Write(ref _consumer, consumer);
            if (WaitForKafka(consumer))
            {
                consumer.Subscribe(options.Topics);
                WaitsFor = "partitions are being assigned";
                while (!_stopping.IsCancellationRequested)
                {
                    if (!Turn(consumer))
                    {
                        _stopping.WaitHandle.WaitOne(1);
                    }
                }
            }

            // Revokes what is held: flush, commit, leave.
            LogStopping();
            consumer.Close();
            _ended.TrySetResult();
        }
        catch (Exception exception)
        {
            // Going on without the loop would look alive and be dead; a restart may mend it.
            _ended.TrySetException(exception);
        }
    }

    /// <summary>Comes round once: hands on, rewinds, takes the rows that have come.</summary>
    /// <returns>False when it was too early to do anything: the queue is full, and perhaps only for a moment.</returns>
    internal bool Turn(IConsumer<RowKey, Row> consumer)
    {
        Beat();
        if (!KeepQueueBounded(consumer))
        {
            return false;
        }

        if (positions.AnyUnknown)
        {
            FindUnknownStarts(consumer);
        }

        Rebuild(consumer);

        // Only the first row is waited for.
        var wait = _held.Count > 0 || _paused.Count > 0 ? HeldPollWait : PollWait;
        var rows = 0;
        while (rows < RowQueue.MostAtOnce && Poll(consumer, wait) && _held.Count == 0)
        {
            rows++;
            wait = TimeSpan.Zero;
        }

        queue.HandOver(moreComes: rows == RowQueue.MostAtOnce);
        return true;
    }

    private void Beat() => Volatile.Write(ref _lastBeat, Time.GetTimestamp());

    /// <summary>Waits until Kafka answers, and notes which topics there are.</summary>
    private bool WaitForKafka(IConsumer<RowKey, Row> consumer)
    {
        using var admin = new DependentAdminClientBuilder(consumer.Handle).Build();
        var wait = TimeSpan.FromMilliseconds(250);
        foreach (var topic in options.Topics)
        {
            while (true)
            {
                Beat();
                WaitsFor = $"Kafka at {options.KafkaBootstrapServers} does not answer yet";
                try
                {
                    var metadata = admin.GetMetadata(topic, TimeSpan.FromSeconds(2)).Topics[0];
                    positions.NoteTopic(topic, metadata.Partitions.Count);
                    if (metadata.Partitions.Count == 0)
                    {
                        NoteMissing(topic);
                    }

                    break;
                }
                catch (KafkaException exception)
                {
                    LogWaiting(options.KafkaBootstrapServers, exception.Error.Reason);
                    if (_stopping.WaitHandle.WaitOne(wait * (0.5 + Random.Shared.NextDouble())))
                    {
                        return false;
                    }

                    wait = wait * 2 < LongestRetry ? wait * 2 : LongestRetry;
                }
            }
        }

        return !_stopping.IsCancellationRequested;
    }

    private void NoteMissing(string topic)
    {
        if (_missingTopics.Add(topic))
        {
            LogTopicMissing(topic);
        }
    }

    /// <summary>Takes the next row.</summary>
    /// <returns>False when there is none right now.</returns>
    private bool Poll(IConsumer<RowKey, Row> consumer, TimeSpan wait)
    {
        ConsumeResult<RowKey, Row>? result;
        try
        {
            result = consumer.Consume(wait);
        }
        catch (ConsumeException exception) when (!exception.Error.IsFatal)
        {
            if (exception.Error.Code == ErrorCode.UnknownTopicOrPart)
            {
                NoteMissing(exception.ConsumerRecord?.Topic ?? "");
            }
            else
            {
                LogConsumeFailed(exception.Error.Reason);
            }

            return false;
        }

        if (result is null)
        {
            return false;
        }

        // Null for a partition that was let go between the client's queue and here.
        if (assignment.Find(result.Topic, result.Partition) is not { } partition)
        {
            return true;
        }

        WaitsFor = null;
        if (result.IsPartitionEOF)
        {
            // Transaction markers and aborted rows take offsets too, and nobody sees them: the end does.
            if (result.Offset.Value > partition.Next)
            {
                Enqueue(new(partition, result.Offset.Value - 1, 0, Row.Skip));
            }

            return true;
        }

        partition.Records.Increment();
        using var receipt = Tracing.Receive(result, options.ConsumerGroup);
        Enqueue(new(partition, result.Offset.Value, result.Message.Timestamp.UnixTimestampMs, result.Message.Value, receipt));
        return true;
    }

    private void Enqueue(in QueuedRow row)
    {
        row.Partition!.Next = row.Offset + 1;
        if (_held.Count > 0 || !queue.TryEnqueue(row))
        {
            _held.Enqueue(row);
        }
    }

    /// <summary>Hands on what the queue did not take; pauses when it stays full, resumes when it is half empty.</summary>
    /// <returns>False while the queue has not been full for long enough to pause.</returns>
    private bool KeepQueueBounded(IConsumer<RowKey, Row> consumer)
    {
        if (_held.Count > 0 && _paused.Count == 0)
        {
            _fullSince ??= Time.GetTimestamp();
            if (!TryHandOn())
            {
                if (Time.GetElapsedTime(_fullSince.Value) <= FullPatience)
                {
                    return false;
                }

                Pause(consumer);
            }

            _fullSince = null;
            return true;
        }

        if (_paused.Count == 0)
        {
            if (!ReferenceEquals(_running, assignment.Current))
            {
                // The client remembers a pause across rebalances: a partition that was paused when it was taken away comes
                // back paused, though nobody here would ever resume it.
                _running = assignment.Current;
                OnHeld(consumer.Resume);
            }
        }
        else if (TryHandOn() && queue.IsAtLowWater)
        {
            Resume(consumer);
        }
        else if (!ReferenceEquals(_paused, assignment.Current))
        {
            // Partitions that came with a rebalance start out running.
            Pause(consumer);
        }

        return true;
    }

    private bool TryHandOn()
    {
        while (_held.TryPeek(out var row))
        {
            if (row.Partition!.Owned && !queue.TryEnqueue(row))
            {
                return false;
            }

            _held.Dequeue();
        }

        return true;
    }

    private void Pause(IConsumer<RowKey, Row> consumer)
    {
        if (_paused.Count == 0)
        {
            LogPaused(queue.Count);
        }

        _paused = assignment.Current;
        OnHeld(consumer.Pause);
    }

    private void Resume(IConsumer<RowKey, Row> consumer)
    {
        LogResumed();
        _paused = [];
        OnHeld(consumer.Resume);
    }

    private void OnHeld(Action<IEnumerable<TopicPartition>> action)
    {
        try
        {
            action([.. assignment.Current.Select(partition => partition.TopicPartition)]);
        }
        catch (KafkaException exception) when (exception.Error.Code is ErrorCode.Local_State or ErrorCode.Local_UnknownPartition)
        {
            // One of them is on its way to another member.
        }
    }

    /// <summary>
    /// Asks again where partitions start of which Kafka did not tell it, right after a coordinator had moved, say. The client
    /// itself asks only once, and never reads a partition for which that failed.
    /// </summary>
    private void FindUnknownStarts(IConsumer<RowKey, Row> consumer)
    {
        if (_startsAskedAt is { } asked && Time.GetElapsedTime(asked) < StartRetry)
        {
            return;
        }

        _startsAskedAt = Time.GetTimestamp();
        var unknown = assignment.Current.Where(partition => partition.Next < 0).Select(partition => partition.TopicPartition).ToList();
        var found = unknown.Count > 0 ? positions.Find(consumer, unknown, TimeSpan.Zero) : [];
        if (found.Exists(start => start.Start.Offset == Offset.Stored))
        {
            return;
        }

        positions.AnyUnknown = false;
        if (found.Count == 0)
        {
            return;
        }

        try
        {
            // A partition that is not being read cannot be sought in.
            consumer.IncrementalUnassign(unknown);
            consumer.IncrementalAssign(found.Select(start => start.Start));
            found.ForEach(start => assignment.Take(AssignedPartition.From(start.Start, start.Resumed, metrics.Records(start.Start.Topic))));
            LogStartsFound(found.Count);
        }
        catch (KafkaException exception) when (!exception.Error.IsFatal)
        {
            // One of them is on its way to another member.
            positions.AnyUnknown = true;
        }
    }

    /// <summary>Rewinds partitions whose windows Redis no longer has.</summary>
    private void Rebuild(IConsumer<RowKey, Row> consumer)
    {
        // Without knowing how far a partition is written, rewinding could turn out to go forward: it is asked for again. And one
        // that its last owner has read again, and named since, is not to go back behind what was committed after that.
        if (rebuilds.Take() is not { } request
            || request.Partitions.Where(partition => partition is { Owned: true, Written: >= 0 } && partition.CoveredEpoch != request.Epoch).ToList() is not { Count: > 0 } lost)
        {
            return;
        }

        try
        {
            var targets = positions.At(consumer, lost.Select(partition => partition.TopicPartition), TimeSpan.FromSeconds(options.RebuildLookbackSeconds));
            var rows = 0L;
            foreach (var old in lost)
            {
                // Never forward: what is not written yet stays to be read.
                var written = old.Written;
                var from = Math.Min(written, targets.Find(target => target.TopicPartition == old.TopicPartition)!.Offset.Value);
                consumer.Seek(new TopicPartitionOffset(old.TopicPartition, from));
                rows += written - from;

                // A new object: rows of the old one that are still on their way are dropped, and read again in order.
                var rewound = new AssignedPartition(old.TopicPartition, old.Records) { CoveredEpoch = request.Epoch };
                rewound.StartAt(from);
                assignment.Take(rewound);
            }

            metrics.Rebuilt(lost.Count);
            LogRebuild(lost.Count, rows, options.RebuildLookbackSeconds);
        }
        catch (KafkaException exception)
        {
            // The next look at the epoch asks again.
            LogRebuildFailed(exception.Error.Reason);
        }
    }

    [LoggerMessage(EventIds.Consume + 30, LogLevel.Warning, "Waiting for Kafka at {Servers}: {Error}. Is the address right (ConnectionStrings:kafka or kafka_bootstrap_servers)?")]
    private partial void LogWaiting(string servers, string error);

    [LoggerMessage(EventIds.Consume + 31, LogLevel.Warning, "The topic {Topic} does not exist yet; it is read from its beginning as soon as it does.")]
    private partial void LogTopicMissing(string topic);

    [LoggerMessage(EventIds.Consume + 32, LogLevel.Warning, "Kafka did not deliver: {Error}. The client tries again.")]
    private partial void LogConsumeFailed(string error);

    [LoggerMessage(EventIds.Consume + 33, LogLevel.Warning, "The queue is full ({Rows} rows): partitions are paused until it is half empty. Is Redis slow, or redis_queue_max_size too small?")]
    private partial void LogPaused(int rows);

    [LoggerMessage(EventIds.Consume + 34, LogLevel.Information, "The queue is half empty: partitions go on.")]
    private partial void LogResumed();

    [LoggerMessage(EventIds.Consume + 35, LogLevel.Warning, "Redis has lost its windows: {Partitions} partitions are read again, {Rows} rows, from {Seconds} s ago.")]
    private partial void LogRebuild(int partitions, long rows, int seconds);

    [LoggerMessage(EventIds.Consume + 36, LogLevel.Warning, "Partitions could not be rewound yet: {Error}. Tried again.")]
    private partial void LogRebuildFailed(string error);

    [LoggerMessage(EventIds.Consume + 40, LogLevel.Information, "Kafka has told where {Count} partitions start.")]
    private partial void LogStartsFound(int count);

    [LoggerMessage(EventIds.Consume + 37, LogLevel.Information, "Stopping: what is in flight is written and committed, then the group is left.")]
    private partial void LogStopping();

    [LoggerMessage(EventIds.Consume + 38, LogLevel.Warning, "Kafka did not let go in time; rows that were not committed are read again at the next start.")]
    private partial void LogStopTimedOut();

    [LoggerMessage(EventIds.Consume + 39, LogLevel.Critical, "The consume loop failed; the service stops with exit code 1.")]
    private partial void LogFatal(Exception exception);
}
