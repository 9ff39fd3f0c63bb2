using Confluent.Kafka;

namespace Cache.Tests.Simulation;

/// <summary>One partition: its rows, and its state in the group.</summary>
internal sealed class PartitionLog(string topic, int partition)
{
    public string Topic { get; } = topic;

    public int Partition { get; } = partition;

    public TopicPartition TopicPartition { get; } = new(topic, partition);

    /// <summary>As an epoch names it.</summary>
    public string Name { get; } = $"{topic}/{partition}";

    /// <summary>By offset; null for a transaction marker.</summary>
    public List<SimulatedRow?> Rows { get; } = [];

    /// <summary>The group's committed offset; negative if none.</summary>
    public long Committed { get; set; } = -1;

    /// <summary>The current owner, as the group sees it; null if none.</summary>
    public SimulatedConsumer? Owner { get; set; }

    /// <summary>The owner to be.</summary>
    public SimulatedConsumer? Target { get; set; }

    /// <summary>Whether the epoch in Redis lists it: everything committed is in Redis.</summary>
    public bool IsNamed { get; set; }

    /// <summary>The offset up to which all rows are known to be in Redis, or in the dead letters.</summary>
    public long CheckedUpTo { get; set; }

    public override string ToString() => Name;
}

/// <summary>The brokers: logs, one consumer group with cooperative rebalancing, and the dead-letter topic.</summary>
internal sealed class SimulatedKafka(Promises promises, SimulatedClock clock, Random random, TimeSpan sessionTimeout)
{
    private readonly List<SimulatedConsumer> _members = [];
    private readonly List<KafkaRequest> _requests = [];

    public Promises Promises { get; } = promises;

    public SimulatedClock Clock { get; } = clock;

    public Random Random { get; } = random;

    public TimeSpan SessionTimeout { get; } = sessionTimeout;

    /// <summary>Whether the consumer's own requests may sometimes fail.</summary>
    public bool AnswersAreUnsure { get; set; }

    public IReadOnlyList<PartitionLog> Logs => Promises.Logs;

    /// <summary>Commits, dead letters and lookups in flight, in no order.</summary>
    public IReadOnlyList<KafkaRequest> Requests => _requests;

    /// <summary>Members that the group waits for, alive or not.</summary>
    public IReadOnlyList<SimulatedConsumer> Members => _members;

    /// <summary>Whether some member has not finished its part of a rebalance.</summary>
    public bool IsRebalancing => Logs.Any(log => log.Target != log.Owner);

    /// <summary>Whether a partition meant for this member no longer has an owner.</summary>
    public bool IsForTaking(SimulatedConsumer member)
    {
        foreach (var log in Promises.Logs)
        {
            if (log.Target == member && log.Owner is null)
            {
                return true;
            }
        }

        return false;
    }

    public PartitionLog Find(TopicPartition partition)
    {
        foreach (var log in Promises.Logs)
        {
            if (log.Partition == partition.Partition.Value && log.Topic == partition.Topic)
            {
                return log;
            }
        }

        throw new ArgumentException($"The simulation has no {partition}.");
    }

    public void Join(SimulatedConsumer member)
    {
        member.Joined(Clock.Now);
        _members.Add(member);
        Reassign();
    }

    /// <summary>Removes a member from the group, whether it knows or not.</summary>
    public void Remove(SimulatedConsumer member)
    {
        if (!_members.Remove(member))
        {
            return;
        }

        Promises.Trace?.Add($"kafka: the group goes on without {member}");
        member.IsMember = false;
        foreach (var log in Logs.Where(log => log.Owner == member))
        {
            log.Owner = null;
        }

        Reassign();
    }

    /// <summary>Reassigns the partitions; some of them move.</summary>
    public void Reassign()
    {
        foreach (var log in Logs)
        {
            if (_members.Count == 0)
            {
                log.Target = null;
            }
            else if (log.Target is null || !_members.Contains(log.Target) || Random.Next(3) == 0)
            {
                log.Target = _members[Random.Next(_members.Count)];
            }
        }

        Promises.Trace?.Add($"kafka: assigns {string.Join(", ", Logs.Select(log => $"{log} to {log.Target}"))}");
    }

    /// <summary>Time has advanced: cut-off, frozen and dead members sent no heartbeats.</summary>
    public void Heartbeats()
    {
        for (var at = 0; at < _members.Count; at++)
        {
            var member = _members[at];
            if (member.IsHeard)
            {
                member.HeardAt = Clock.Now;
            }
            else if (Clock.Now - member.HeardAt > SessionTimeout)
            {
                Remove(member);
                at--;
            }
        }
    }

    public Task RequestAsync(KafkaRequest request)
    {
        _requests.Add(request);
        return request.Answer;
    }

    /// <summary>Executes the request or not, and confirms it or not.</summary>
    public void Resolve(KafkaRequest request, bool does, bool answers)
    {
        _requests.Remove(request);
        var error = does ? request.Do() : ErrorCode.Local_TimedOut;
        if (!answers && error == ErrorCode.NoError)
        {
            error = ErrorCode.Local_TimedOut;
        }

        Promises.Trace?.Add($"kafka: {request}: {error}");
        request.Finish(error);
    }
}

/// <summary>A process's request to the brokers.</summary>
internal abstract class KafkaRequest(SimulatedConsumer from)
{
    public SimulatedConsumer From { get; } = from;

    public abstract Task Answer { get; }

    public abstract ErrorCode Do();

    public abstract void Finish(ErrorCode error);
}

/// <summary>A commit by a member of one generation.</summary>
internal sealed class CommitRequest(SimulatedConsumer from, IReadOnlyList<TopicPartitionOffset> offsets) : KafkaRequest(from)
{
    private readonly TaskCompletionSource _answer = new();
    private readonly int _generation = from.Generation;

    public override Task Answer => _answer.Task;

    public override ErrorCode Do()
    {
        if (!From.IsMember || From.Generation != _generation)
        {
            return From.IsMember ? ErrorCode.IllegalGeneration : ErrorCode.UnknownMemberId;
        }

        if (From.Kafka.IsRebalancing && From.Kafka.Random.Next(4) == 0)
        {
            return ErrorCode.RebalanceInProgress;
        }

        foreach (var offset in offsets)
        {
            From.Kafka.Promises.Committed(From.Kafka.Find(offset.TopicPartition), offset.Offset.Value);
        }

        From.HeardAt = From.Kafka.Clock.Now;
        return ErrorCode.NoError;
    }

    public override void Finish(ErrorCode error)
    {
        if (error == ErrorCode.NoError)
        {
            _answer.TrySetResult();
        }
        else
        {
            _answer.TrySetException(new KafkaException(error));
            _ = _answer.Task.Exception;
        }
    }

    public override string ToString() => $"{From} commits {string.Join(", ", offsets.Select(offset => $"{offset.Topic}/{offset.Partition.Value} {offset.Offset.Value}"))}";
}

/// <summary>An offset lookup.</summary>
internal sealed class LookupRequest(SimulatedConsumer from, Func<IReadOnlyDictionary<TopicPartition, Offset>> look) : KafkaRequest(from)
{
    private readonly TaskCompletionSource<IReadOnlyDictionary<TopicPartition, Offset>> _answer = new();
    private IReadOnlyDictionary<TopicPartition, Offset> _found = new Dictionary<TopicPartition, Offset>();

    public override Task<IReadOnlyDictionary<TopicPartition, Offset>> Answer => _answer.Task;

    public override ErrorCode Do()
    {
        _found = look();
        return ErrorCode.NoError;
    }

    public override void Finish(ErrorCode error)
    {
        if (error == ErrorCode.NoError)
        {
            _answer.TrySetResult(_found);
        }
        else
        {
            _answer.TrySetException(new KafkaException(error));
            _ = _answer.Task.Exception;
        }
    }

    public override string ToString() => $"{From} asks for offsets";
}

/// <summary>A dead letter in flight.</summary>
/// <param name="from">Its sender.</param>
/// <param name="message">The dead letter.</param>
/// <param name="told">How the client reports an error.</param>
internal sealed class ProduceRequest(SimulatedConsumer from, Message<byte[]?, byte[]?> message, Func<ErrorCode, ErrorCode> told) : KafkaRequest(from)
{
    private readonly TaskCompletionSource<DeliveryResult<byte[]?, byte[]?>> _answer = new();

    public override Task<DeliveryResult<byte[]?, byte[]?>> Answer => _answer.Task;

    public override ErrorCode Do() =>
        From.Kafka.Promises.DeadLettered(Text("cache.topic"), int.Parse(Text("cache.partition")), long.Parse(Text("cache.offset")), message.Value);

    public override void Finish(ErrorCode error)
    {
        if (error == ErrorCode.NoError)
        {
            _answer.TrySetResult(new() { Message = message });
        }
        else
        {
            _answer.TrySetException(new ProduceException<byte[]?, byte[]?>(new Error(told(error)), new() { Message = message }));
        }
    }

    public override string ToString() => $"{From} sends the dead letter {Text("cache.topic")}/{Text("cache.partition")} {Text("cache.offset")}";

    private string Text(string header) => System.Text.Encoding.UTF8.GetString(message.Headers.GetLastBytes(header));
}
