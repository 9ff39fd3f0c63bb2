using Cache.Service.Enqueue;
using Cache.Service.Hosting;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// The one loop that owns the Kafka consumer, on a thread of its own. It always polls, so that the process never leaves
/// the group for being slow: when the queue is full it pauses its partitions and polls on.
/// </summary>
internal sealed partial class ConsumeLoop(
    IServiceProvider services, Assignment assignment, Topics topics, StartPositions positions, RowQueue queue, RebuildRequests rebuilds,
    CacheOptions options, ConsumeMetrics metrics, TimeProvider time, FatalError fatal, ILogger<ConsumeLoop> logger)
    : Worker(fatal, time, logger), IHostedLifecycleService, IOffsetCommit
{
    // Pausing throws away what the client has fetched ahead, so a queue that is full for a moment is waited for.
    private static readonly TimeSpan FullTimeout = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan PollWait = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan HeldPollWait = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan LookupRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan WatermarkInterval = TimeSpan.FromSeconds(1);

    // A stop has taken up to 15 s by then, and orchestrators kill after 30 s.
    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(10);

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Rows that the full queue did not take; more than one only if a rebalance brought some in between.
    private readonly Queue<QueuedRow> _held = [];
    private IReadOnlyList<AssignedPartition> _paused = [];
    private IReadOnlyList<AssignedPartition> _running = [];
    private long? _fullSince;
    private long? _startsAskedAt;
    private long? _oldestAskedAt;
    private long? _watermarksNotedAt;

    // Partitions whose next row Kafka does not have.
    private readonly HashSet<AssignedPartition> _stranded = [];

    // What Kafka has been asked; the loop goes on meanwhile.
    private Lookup<List<(TopicPartitionOffset Start, bool Resumed)>>? _starts;
    private Lookup<IReadOnlyDictionary<TopicPartition, Offset>>? _oldest;
    private Lookup<IReadOnlyDictionary<TopicPartition, Offset>>? _rewind;
    private string _rewindEpoch = "";
    private volatile bool _consumes;
    private long _lastHeartbeat = time.GetTimestamp();
    private CancellationToken _stopping;
    private IConsumer<RowKey, Row>? _consumer;

    /// <summary>Time since the loop last came round.</summary>
    public TimeSpan SinceLastHeartbeat => Time.GetElapsedTime(Volatile.Read(ref _lastHeartbeat));

    /// <summary>What the loop waits for before it can consume; null once it does.</summary>
    public string? WaitsFor => _consumes ? null : ExecuteTask is null ? "the consume loop has not started" : topics.WaitsFor;

    /// <summary>The consumer, once the loop has made it.</summary>
    public IConsumer<RowKey, Row>? Consumer => Volatile.Read(ref _consumer);

    /// <summary>Leaving the group can hang in the client; what is not committed by then is read again.</summary>
    protected override TimeSpan StopTimeout => TimeSpan.FromSeconds(15);

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
        assignment.RevokeAll();
        queue.Complete();
    }

    /// <inheritdoc/>
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Ends the loop if nobody has stopped it, and waits for that.</summary>
    public void End()
    {
        // Stops a worker of which nobody waits for the end.
        Dispose();
        ExecuteTask?.Wait(EndTimeout);
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
            if (WaitForKafka())
            {
                consumer.Subscribe(options.Topics);
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
        Heartbeat();
        if (!KeepQueueBounded(consumer))
        {
            return false;
        }

        NoteWatermarks(consumer);
        if (positions.AnyUnknown)
        {
            FindUnknownStarts(consumer);
        }

        ResumeAtOldest(consumer);
        Rebuild(consumer);

        // Only the first row is waited for.
        var wait = _held.Count > 0 || _paused.Count > 0 ? HeldPollWait : PollWait;
        var rows = 0;
        while (rows < RowQueue.MaxAtOnce && Poll(consumer, wait) && _held.Count == 0)
        {
            rows++;
            wait = TimeSpan.Zero;
        }

        queue.HandOver(moreComes: rows == RowQueue.MaxAtOnce);
        return true;
    }

    private void Heartbeat() => Volatile.Write(ref _lastHeartbeat, Time.GetTimestamp());

    /// <summary>Waits until Kafka answers, and it is known which topics there are.</summary>
    /// <returns>False when the service stops.</returns>
    private bool WaitForKafka()
    {
        var found = topics.FindAsync(_stopping);
        while (Task.WaitAny([found], PollWait) < 0)
        {
            Heartbeat();
        }

        if (found.IsFaulted)
        {
            found.GetAwaiter().GetResult();
        }

        return !_stopping.IsCancellationRequested;
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
            NoteError(exception);
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

        _consumes = true;
        topics.NoteRead(result.Topic);
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
        using var receipt = ReceiveSpan.Start(result, options.ConsumerGroup);
        Enqueue(new(partition, result.Offset.Value, result.Message.Timestamp.UnixTimestampMs, result.Message.Value, receipt));
        return true;
    }

    private void NoteError(ConsumeException exception)
    {
        var (origin, error) = (exception.ConsumerRecord?.TopicPartition, exception.Error);
        if (error.Code is ErrorCode.Local_AutoOffsetReset or ErrorCode.Local_LogTruncation && origin is not null)
        {
            // Where nothing is committed, and its start is being asked for, there is no offset that could be missing.
            if (assignment.Find(origin.Topic, origin.Partition) is { Next: >= 0 } partition)
            {
                _stranded.Add(partition);
            }
        }
        else if (!topics.Note(origin?.Topic ?? "", error.Code))
        {
            LogConsumeFailed(error.Reason);
        }
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
                if (Time.GetElapsedTime(_fullSince.Value) <= FullTimeout)
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

    /// <summary>Notes what the client remembers of the fetches before; no call to Kafka.</summary>
    private void NoteWatermarks(IConsumer<RowKey, Row> consumer)
    {
        if (IsTimeFor(ref _watermarksNotedAt, WatermarkInterval))
        {
            foreach (var partition in assignment.Current)
            {
                partition.HighWatermarkSeen(consumer.GetWatermarkOffsets(partition.TopicPartition).High.Value);
            }
        }
    }

    /// <summary>
    /// Asks again where partitions start of which Kafka did not tell it, right after a coordinator had moved, say. The client
    /// itself asks only once, and never reads a partition for which that failed.
    /// </summary>
    private void FindUnknownStarts(IConsumer<RowKey, Row> consumer)
    {
        if (_starts is null && IsTimeFor(ref _startsAskedAt, LookupRetry))
        {
            var unknown = assignment.Current.Where(partition => partition.Next < 0).ToList();
            positions.AnyUnknown = unknown.Count > 0;
            _starts = unknown.Count > 0 ? new(unknown, positions.FindAsync(unknown.ConvertAll(partition => partition.TopicPartition))) : null;
        }

        try
        {
            // One that was taken away meanwhile, and came back, may start elsewhere.
            if (!TryTake(ref _starts, out var asked, out var starts)
                || starts.Where(start => asked.Exists(partition => partition.Next < 0 && partition.TopicPartition == start.Start.TopicPartition)).ToList() is not { Count: > 0 } found)
            {
                return;
            }

            // A partition that is not being read cannot be sought in.
            consumer.IncrementalUnassign(found.Select(start => start.Start.TopicPartition));
            consumer.IncrementalAssign(found.Select(start => start.Start));
            found.ForEach(start => assignment.Assign(AssignedPartition.From(start.Start, start.Resumed, metrics.Rows(start.Start.Topic))));
            positions.AnyUnknown = assignment.Current.Any(partition => partition.Next < 0);
            LogStartsFound(found.Count);
        }
        catch (KafkaException exception) when (!exception.Error.IsFatal)
        {
            // Not told this time either, or one of them is on its way to another member.
        }
    }

    /// <summary>
    /// Goes on with the oldest row of partitions whose next row Kafka does not have: retention, or an operator, has deleted it,
    /// or a leader that took over never had it.
    /// </summary>
    private void ResumeAtOldest(IConsumer<RowKey, Row> consumer)
    {
        if (_stranded.Count > 0 && _oldest is null && IsTimeFor(ref _oldestAskedAt, LookupRetry))
        {
            _stranded.RemoveWhere(partition => !partition.Owned);
            _oldest = _stranded.Count > 0 ? new([.. _stranded], positions.OldestAsync([.. _stranded.Select(partition => partition.TopicPartition)])) : null;
        }

        try
        {
            if (!TryTake(ref _oldest, out var asked, out var offsets))
            {
                return;
            }

            foreach (var partition in asked)
            {
                ResumeAt(consumer, partition, offsets[partition.TopicPartition]);
                _stranded.Remove(partition);
            }

            if (_paused.Count > 0)
            {
                OnHeld(consumer.Pause);
            }
        }
        catch (KafkaException exception) when (!exception.Error.IsFatal)
        {
            // Asked again; one that is on its way to another member is let go soon.
            LogConsumeFailed(exception.Error.Reason);
        }
    }

    private void ResumeAt(IConsumer<RowKey, Row> consumer, AssignedPartition partition, Offset oldest)
    {
        // A partition that is not being read cannot be sought in.
        consumer.IncrementalUnassign([partition.TopicPartition]);
        consumer.IncrementalAssign([new TopicPartitionOffset(partition.TopicPartition, oldest)]);
        if (oldest.Value > partition.Next)
        {
            partition.Records.Miss(oldest.Value - partition.Next);
            LogMissed(partition, partition.Next, oldest.Value - 1, oldest.Value - partition.Next);

            // Committed like any row: a restart is not to miss them once more.
            Enqueue(new(partition, oldest.Value - 1, 0, Row.Skip));
        }
        else if (oldest.Value < partition.Next)
        {
            LogTruncated(partition, partition.Next, oldest.Value);
            Rewind(partition, oldest.Value, partition.CoveredEpoch);
        }
    }

    /// <summary>Rewinds partitions whose windows Redis no longer has.</summary>
    private void Rebuild(IConsumer<RowKey, Row> consumer)
    {
        if (_rewind is null && rebuilds.Take() is { } request && Lost(request.Partitions, request.Epoch) is { Count: > 0 } partitions)
        {
            var from = Time.GetUtcNow().AddSeconds(-options.RebuildLookbackSeconds);
            _rewindEpoch = request.Epoch;
            _rewind = new(partitions, positions.AtAsync(partitions.ConvertAll(partition => partition.TopicPartition), from));
        }

        try
        {
            if (!TryTake(ref _rewind, out var asked, out var targets) || Lost(asked, _rewindEpoch) is not { Count: > 0 } lost)
            {
                return;
            }

            var rows = 0L;
            foreach (var old in lost)
            {
                // Never forward: what is not written yet stays to be read.
                var written = old.Written;
                var from = Math.Min(written, targets[old.TopicPartition].Value);
                consumer.Seek(new TopicPartitionOffset(old.TopicPartition, from));
                rows += written - from;
                Rewind(old, from, _rewindEpoch);
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

    /// <summary>
    /// Those that are to be rewound. Without knowing how far a partition is written, rewinding could turn out to go forward: it is
    /// asked for again. And one that its last owner has read again, and named since, is not to go back behind what was committed
    /// after that.
    /// </summary>
    private static List<AssignedPartition> Lost(IEnumerable<AssignedPartition> partitions, string epoch) =>
        [.. partitions.Where(partition => partition is { Owned: true, Written: >= 0 } && partition.CoveredEpoch != epoch)];

    /// <summary>A new object: rows of the old one that are still on their way are dropped, and read again in order.</summary>
    private void Rewind(AssignedPartition old, long from, string? epoch)
    {
        var rewound = new AssignedPartition(old.TopicPartition, old.Records) { CoveredEpoch = epoch };
        rewound.StartAt(from);
        assignment.Assign(rewound);
    }

    /// <summary>Whether something was not done for a while; it is done now.</summary>
    private bool IsTimeFor(ref long? doneAt, TimeSpan interval)
    {
        if (doneAt is { } before && Time.GetElapsedTime(before) < interval)
        {
            return false;
        }

        doneAt = Time.GetTimestamp();
        return true;
    }

    /// <summary>Takes the answer to a question, once it is there.</summary>
    /// <param name="lookup">The question; none any more once its answer is taken.</param>
    /// <param name="partitions">Those that were asked for and are still held.</param>
    /// <param name="answer">The answer.</param>
    /// <exception cref="KafkaException">Kafka did not tell.</exception>
    private static bool TryTake<T>(ref Lookup<T>? lookup, out List<AssignedPartition> partitions, out T answer)
    {
        if (lookup is not { Answer.IsCompleted: true } done)
        {
            (partitions, answer) = ([], default!);
            return false;
        }

        lookup = null;
        answer = done.Answer.GetAwaiter().GetResult();
        partitions = done.Partitions.FindAll(partition => partition.Owned);
        return true;
    }

    private sealed record Lookup<T>(List<AssignedPartition> Partitions, Task<T> Answer);

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

    [LoggerMessage(EventIds.Consume + 43, LogLevel.Warning,
        "Kafka deleted rows of {Partition} before they were read: offsets {First} to {Last}, {Rows} rows. Is its retention shorter than the service may lag behind?")]
    private partial void LogMissed(AssignedPartition partition, long first, long last, long rows);

    [LoggerMessage(EventIds.Consume + 44, LogLevel.Warning,
        "Kafka lost rows of {Partition}: its log ends before offset {Next}, which comes next. It is read again from its oldest row, {Oldest}.")]
    private partial void LogTruncated(AssignedPartition partition, long next, long oldest);

    [LoggerMessage(EventIds.Consume + 37, LogLevel.Information, "Stopping: what is in flight is written and committed, then the group is left.")]
    private partial void LogStopping();

    [LoggerMessage(EventIds.Consume + 38, LogLevel.Warning, "Kafka did not let go in time; rows that were not committed are read again at the next start.")]
    private partial void LogStopTimedOut();

    [LoggerMessage(EventIds.Consume + 39, LogLevel.Critical, "The consume loop failed; the service stops with exit code 1.")]
    private partial void LogFatal(Exception exception);
}
