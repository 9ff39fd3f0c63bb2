using Cache.Service.Consume;
using Cache.Service.Model;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Tests.Simulation;

/// <summary>
/// A process's Kafka consumer. As with the real one, callbacks are called inside <see cref="Consume"/>, and rows pass through
/// the service's own deserializers.
/// </summary>
internal class SimulatedConsumer : IOffsetCommit, IKafkaLookups
{
    private readonly Dictionary<PartitionLog, long> _positions = [];
    private readonly HashSet<PartitionLog> _paused = [];
    private readonly HashSet<PartitionLog> _reportedEnd = [];
    private readonly List<PartitionLog> _ready = [];
    private readonly Callbacks _callbacks;
    private readonly IDeserializer<Row> _deserializer;
    private bool _closed;

    public SimulatedConsumer(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer)
    {
        Kafka = kafka;
        Name = name;
        _deserializer = deserializer;
        _callbacks = new Callbacks();
        callbacks.Attach(_callbacks);
        Client = Proxy.Of<IConsumer<RowKey, Row>>(OnClient);
    }

    /// <summary>The interface that the service uses.</summary>
    public IConsumer<RowKey, Row> Client { get; }

    public SimulatedKafka Kafka { get; }

    public string Name { get; }

    /// <summary>Whether the group counts it among its members.</summary>
    public bool IsMember { get; set; }

    /// <summary>Whether its process is running.</summary>
    public bool IsRunning { get; set; } = true;

    /// <summary>Whether the network between it and the brokers is down.</summary>
    public bool IsCutOff { get; set; }

    /// <summary>Whether its heartbeats reach the group.</summary>
    public bool IsHeard => IsRunning && !IsCutOff && !_closed;

    /// <summary>When its last heartbeat reached the group.</summary>
    public TimeSpan HeardAt { get; set; }

    /// <summary>Number of rebalances that it took part in.</summary>
    public int Generation { get; private set; }

    public IReadOnlyDictionary<PartitionLog, long> Positions => _positions;

    /// <summary>Whether it has rows to deliver, or something to do for the group.</summary>
    public bool HasWork
    {
        get
        {
            foreach (var (log, position) in _positions)
            {
                if (log.Target != this || (position < log.Rows.Count && !_paused.Contains(log)))
                {
                    return true;
                }
            }

            return !IsMember || Kafka.IsForTaking(this);
        }
    }

    protected IReadOnlySet<PartitionLog> Paused => _paused;

    public override string ToString() => Name;

    public void Joined(TimeSpan now)
    {
        IsMember = true;
        HeardAt = now;
        Generation++;
    }

    private object? OnClient(string method, object?[] arguments)
    {
        switch (method)
        {
            case nameof(IConsumer<,>.Consume):
                return Consume((TimeSpan)arguments[0]!);
            case nameof(IConsumer<,>.Seek):
                Seek((TopicPartitionOffset)arguments[0]!);
                return null;
            case nameof(IConsumer<,>.IncrementalUnassign):
                foreach (var partition in (IEnumerable<TopicPartition>)arguments[0]!)
                {
                    _positions.Remove(Kafka.Find(partition));
                }

                return null;
            case nameof(IConsumer<,>.IncrementalAssign):
                StartAt((IEnumerable<TopicPartitionOffset>)arguments[0]!);
                return null;
            case nameof(IConsumer<,>.Pause):
                Pause((IEnumerable<TopicPartition>)arguments[0]!);
                return null;
            case nameof(IConsumer<,>.Resume):
                Resume((IEnumerable<TopicPartition>)arguments[0]!);
                return null;
            case nameof(IConsumer<,>.GetWatermarkOffsets):
                return new WatermarkOffsets(0, Kafka.Find((TopicPartition)arguments[0]!).Rows.Count);
            default:
                throw new NotSupportedException($"The simulation has no {method}.");
        }
    }

    /// <summary>Serves the group, or delivers a row or the end of a partition, or nothing.</summary>
    private ConsumeResult<RowKey, Row>? Consume(TimeSpan wait)
    {
        // A caller that does not wait gets only what is already fetched, which may be nothing.
        if (wait == TimeSpan.Zero && Kafka.Random.Next(2) == 0)
        {
            return null;
        }

        if (ServeGroup())
        {
            return null;
        }

        _ready.Clear();
        foreach (var (log, position) in _positions)
        {
            if (!_paused.Contains(log) && (position < log.Rows.Count || !_reportedEnd.Contains(log)))
            {
                _ready.Add(log);
            }
        }

        return _ready.Count == 0 || IsCutOff ? null : Deliver(_ready[Kafka.Random.Next(_ready.Count)]);
    }

    private ConsumeResult<RowKey, Row> Deliver(PartitionLog log)
    {
        while (_positions[log] < log.Rows.Count && log.Rows[(int)_positions[log]] is null)
        {
            _positions[log]++;
        }

        if (_positions[log] >= log.Rows.Count)
        {
            _reportedEnd.Add(log);
            return new() { TopicPartitionOffset = new(log.TopicPartition, _positions[log]), IsPartitionEOF = true };
        }

        _reportedEnd.Remove(log);
        return DeliverRow(log);
    }

    /// <inheritdoc/>
    public Task<IReadOnlyList<TopicAnswer>> TopicsAsync(IReadOnlyCollection<string> topics) => throw new NotSupportedException();

    /// <inheritdoc/>
    public Task<IReadOnlyDictionary<TopicPartition, Offset>> CommittedAsync(IReadOnlyCollection<TopicPartition> partitions) =>
        AnswerAsync(partitions, log => log.Committed >= 0 ? log.Committed : Offset.Unset);

    /// <inheritdoc/>
    public Task<IReadOnlyDictionary<TopicPartition, Offset>> OffsetsAsync(IReadOnlyCollection<TopicPartition> partitions, OffsetSpec spec) => spec switch
    {
        OffsetSpec.TimestampSpec => AnswerAsync(partitions, OffsetForTime),
        OffsetSpec.EarliestSpec => AnswerAsync(partitions, _ => 0),
        _ => AnswerAsync(partitions, log => log.Rows.Count),
    };

    /// <inheritdoc/>
    public Task<IReadOnlyDictionary<TopicPartition, long>> TimestampsAsync(IReadOnlyCollection<TopicPartitionOffset> rows) => throw new NotSupportedException();

    /// <summary>Schedules are shorter than the lookback: every row is recent enough.</summary>
    protected virtual Offset OffsetForTime(PartitionLog log) => log.Rows.Count > 0 ? 0 : Offset.End;

    private Task<IReadOnlyDictionary<TopicPartition, Offset>> AnswerAsync(IReadOnlyCollection<TopicPartition> partitions, Func<PartitionLog, Offset> answer) =>
        AskAsync(new(this, () => partitions.ToDictionary(partition => partition, partition => answer(Kafka.Find(partition)))));

    private Task<IReadOnlyDictionary<TopicPartition, Offset>> AskAsync(LookupRequest request)
    {
        Kafka.RequestAsync(request);
        return request.Answer;
    }

    private void Seek(TopicPartitionOffset to)
    {
        var log = Kafka.Find(to.TopicPartition);
        if (!_positions.ContainsKey(log))
        {
            throw new KafkaException(ErrorCode.Local_State);
        }

        _positions[log] = to.Offset.Value;
        _reportedEnd.Remove(log);
    }

    private void Pause(IEnumerable<TopicPartition> partitions) => _paused.UnionWith(partitions.Select(Kafka.Find));

    protected virtual void Resume(IEnumerable<TopicPartition> partitions) => _paused.ExceptWith(partitions.Select(Kafka.Find));

    /// <inheritdoc/>
    public virtual Task CommitAsync(IReadOnlyList<TopicPartitionOffset> offsets) => Kafka.RequestAsync(new CommitRequest(this, offsets));

    public virtual void Close()
    {
        if (IsMember && Kafka.Members.Contains(this))
        {
            Revoke([.. _positions.Keys]);
        }
        else if (_positions.Count > 0)
        {
            Lose();
        }

        Leave();
    }

    protected void Leave()
    {
        _closed = true;
        Kafka.Remove(this);
    }

    /// <summary>Calls the service's handler for partitions about to move to another member.</summary>
    protected virtual void OnRevoked(List<TopicPartitionOffset> partitions) => _callbacks.Revoked(Client, partitions);

    /// <summary>Calls the service's handler for partitions that another member may already have.</summary>
    protected virtual void OnLost(List<TopicPartitionOffset> partitions) => _callbacks.Lost(Client, partitions);

    protected void Move(PartitionLog log, long offset) => _positions[log] = offset;

    private ConsumeResult<RowKey, Row> DeliverRow(PartitionLog log)
    {
        var offset = _positions[log]++;
        var row = log.Rows[(int)offset]!;
        Kafka.Promises.Trace?.Add($"{Name}: gets {row}");
        var keys = (IDeserializer<RowKey>)_deserializer;
        var context = new SerializationContext(MessageComponentType.Key, log.Topic);
        return new()
        {
            TopicPartitionOffset = new(log.TopicPartition, offset),
            Message = new()
            {
                Key = keys.Deserialize([], true, context),
                Value = _deserializer.Deserialize(row.Value, false, context),
                Timestamp = new Timestamp(Kafka.Clock.GetUtcNow()),
            },
        };
    }

    /// <summary>Does what the group wants of this process, as far as the process knows; true if there was anything.</summary>
    private bool ServeGroup()
    {
        if (!IsMember)
        {
            // It learns this from the next heartbeat's response, or, if cut off, from the lack of one.
            if (IsCutOff ? Kafka.Clock.Now - HeardAt <= Kafka.SessionTimeout : Kafka.Random.Next(2) == 0)
            {
                return false;
            }

            if (_positions.Count > 0)
            {
                Lose();
            }

            if (!IsCutOff)
            {
                Kafka.Join(this);
            }

            return true;
        }

        if (IsCutOff)
        {
            return false;
        }

        if (IsToGiveUp())
        {
            Revoke([.. _positions.Keys.Where(log => log.Target != this)]);
            return true;
        }

        if (Kafka.IsForTaking(this))
        {
            Assign([.. Kafka.Logs.Where(log => log.Target == this && log.Owner is null)]);
            return true;
        }

        return false;
    }

    private bool IsToGiveUp()
    {
        foreach (var log in _positions.Keys)
        {
            if (log.Target != this)
            {
                return true;
            }
        }

        return false;
    }

    private void Assign(List<PartitionLog> logs)
    {
        Generation++;
        Kafka.Promises.Trace?.Add($"{Name}: is assigned {string.Join(' ', logs)}");
        logs.ForEach(log => log.Owner = this);
        StartAt(_callbacks.Assigned(Client, logs.ConvertAll(log => log.TopicPartition)));
    }

    private void StartAt(IEnumerable<TopicPartitionOffset> starts)
    {
        foreach (var start in starts)
        {
            var log = Kafka.Find(start.TopicPartition);
            _positions[log] = start.Offset == Offset.Stored ? Math.Max(0, log.Committed) : start.Offset.Value;
            _reportedEnd.Remove(log);
        }
    }

    private void Revoke(List<PartitionLog> logs)
    {
        if (logs.Count > 0)
        {
            Kafka.Promises.Trace?.Add($"{Name}: has to give up {string.Join(' ', logs)}");
            OnRevoked(logs.ConvertAll(log => new TopicPartitionOffset(log.TopicPartition, _positions[log])));
            Kafka.Promises.Trace?.Add($"{Name}: has given up {string.Join(' ', logs)}");
            Drop(logs);
        }

        Generation++;
    }

    private void Lose()
    {
        Kafka.Promises.Trace?.Add($"{Name}: has lost {string.Join(' ', _positions.Keys)}");
        OnLost([.. _positions.Select(position => new TopicPartitionOffset(position.Key.TopicPartition, position.Value))]);
        Drop([.. _positions.Keys]);
    }

    private void Drop(List<PartitionLog> logs)
    {
        foreach (var log in logs)
        {
            _positions.Remove(log);
            if (log.Owner == this)
            {
                log.Owner = null;
            }
        }
    }

    /// <summary>Captures the handlers that the service sets on its consumer's builder.</summary>
    private sealed class Callbacks() : ConsumerBuilder<RowKey, Row>([])
    {
        public IEnumerable<TopicPartitionOffset> Assigned(IConsumer<RowKey, Row> consumer, List<TopicPartition> partitions) =>
            PartitionsAssignedHandler(consumer, partitions);

        public void Revoked(IConsumer<RowKey, Row> consumer, List<TopicPartitionOffset> partitions) => PartitionsRevokedHandler(consumer, partitions);

        public void Lost(IConsumer<RowKey, Row> consumer, List<TopicPartitionOffset> partitions) => PartitionsLostHandler(consumer, partitions);
    }
}
