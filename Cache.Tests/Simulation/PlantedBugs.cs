using Cache.Service.Consume;
using Cache.Service.Model;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Tests.Simulation;

/// <summary>
/// A bug known from other systems, planted between the service and its client libraries: it makes the service behave as if
/// it had the bug, without hooks in the service.
/// </summary>
internal abstract class PlantedBug
{
    /// <summary>All of them.</summary>
    public static IReadOnlyList<PlantedBug> All { get; } =
    [
        new CommitBeforeWrite(), new CommitThePosition(), new DropOnRetry(), new ReorderOnRetry(), new WriteAfterLost(), new ForgetRevokeFlush(),
        new LoseTheLastBatchOnShutdown(), new SkipOneOnResume(), new WrongRewind(), new TrimTheWrongWindow(),
        new RetryWhatNeverPasses(), new TakeADefectForAnOutage(), new ForgetTheRestOfABatch(),
    ];

    public virtual SimulatedConsumer? Consumer(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer) => null;

    public virtual IRowSource? Rows(SimulatedConsumer consumer, Action<TimeSpan> pass) => null;

    public virtual SimulatedConnection? Connection(Schedule schedule, SimulatedProcess process) => null;

    /// <summary>How the producer reports an error.</summary>
    public virtual ErrorCode ProducerSays(ErrorCode error) => error;

    public override string ToString() => GetType().Name;

    /// <summary>Partitions are moved while rows of theirs are at hand, and rows of before a partition was assigned pass for rows of after.</summary>
    private sealed class ForgetTheRestOfABatch : PlantedBug
    {
        public override IRowSource Rows(SimulatedConsumer consumer, Action<TimeSpan> pass) => new Forgetful(consumer, pass);

        private sealed class Forgetful(SimulatedConsumer consumer, Action<TimeSpan> pass) : SimulatedBatches(consumer, pass)
        {
            public override bool HasMore => false;
        }
    }

    /// <summary>Offsets are committed while their rows are in flight to Redis, not once they are there.</summary>
    private sealed class CommitBeforeWrite : PlantedBug
    {
        public override SimulatedConnection Connection(Schedule schedule, SimulatedProcess process) => new Committing(schedule, process);

        private sealed class Committing(Schedule schedule, SimulatedProcess process) : SimulatedConnection(schedule.Redis, process.Name)
        {
            protected override void Send(IReadOnlyList<RedisCommand> commands)
            {
                var next = Sets(commands).SelectMany(set => (HashEntry[])set.Arguments[1]!)
                    .Select(entry => schedule.RowOf(entry.Name.ToString(), entry.Value.ToString())).OfType<SimulatedRow>().GroupBy(row => row.Log)
                    .Select(rows => new TopicPartitionOffset(rows.Key.TopicPartition, rows.Max(row => row.Offset) + 1)).ToList();
                if (next.Count > 0)
                {
                    process.Consumer.CommitAsync(next);
                }

                base.Send(commands);
            }
        }
    }

    /// <summary>The consumer's position is committed.</summary>
    private sealed class CommitThePosition : PlantedBug
    {
        public override SimulatedConsumer Consumer(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer) =>
            new Committing(kafka, name, callbacks, deserializer);

        private sealed class Committing(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer)
            : SimulatedConsumer(kafka, name, callbacks, deserializer)
        {
            public override Task CommitAsync(IReadOnlyList<TopicPartitionOffset> offsets) => base.CommitAsync([.. offsets.Select(offset =>
                new TopicPartitionOffset(offset.TopicPartition, Positions.GetValueOrDefault(Kafka.Find(offset.TopicPartition), offset.Offset.Value)))]);
        }
    }

    /// <summary>A batch that Redis did not accept is not retried.</summary>
    private sealed class DropOnRetry : PlantedBug
    {
        public override SimulatedConnection Connection(Schedule schedule, SimulatedProcess process) => new Dropping(schedule, process);

        private sealed class Dropping(Schedule schedule, SimulatedProcess process) : SimulatedConnection(schedule.Redis, process.Name)
        {
            private List<RedisCommand> _last = [];

            protected override void Send(IReadOnlyList<RedisCommand> commands)
            {
                var sets = Sets(commands);
                if (_last.Exists(set => set.HasFailed) && sets.Count > 0)
                {
                    sets.ForEach(set => set.Pretend());
                    commands = [.. commands.Except(sets)];
                    sets = [];
                }

                _last = sets.Count > 0 || commands.Count > 1 ? sets : _last;
                base.Send(commands);
            }
        }
    }

    /// <summary>A batch that Redis did not accept is retried, but after the next one.</summary>
    private sealed class ReorderOnRetry : PlantedBug
    {
        public override SimulatedConnection Connection(Schedule schedule, SimulatedProcess process) => new Reordering(schedule, process);

        private sealed class Reordering(Schedule schedule, SimulatedProcess process) : SimulatedConnection(schedule.Redis, process.Name)
        {
            private List<RedisCommand> _last = [];
            private List<RedisCommand> _later = [];

            protected override void Send(IReadOnlyList<RedisCommand> commands)
            {
                var sets = Sets(commands);
                if (sets.Count == 0)
                {
                    base.Send(commands);
                }
                else if (_last.Exists(set => set.HasFailed))
                {
                    sets.ForEach(set => set.Pretend());
                    _later = sets;
                    _last = [];
                    base.Send([.. commands.Except(sets)]);
                }
                else
                {
                    _last = sets;
                    base.Send([.. commands, .. _later]);
                    _later = [];
                }
            }
        }
    }

    /// <summary>Lost partitions are not reported.</summary>
    private sealed class WriteAfterLost : PlantedBug
    {
        public override SimulatedConsumer Consumer(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer) =>
            new Deaf(kafka, name, callbacks, deserializer);

        private sealed class Deaf(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer)
            : SimulatedConsumer(kafka, name, callbacks, deserializer)
        {
            protected override void OnLost(List<TopicPartitionOffset> partitions)
            {
            }
        }
    }

    /// <summary>Revoked partitions are not reported.</summary>
    private sealed class ForgetRevokeFlush : PlantedBug
    {
        public override SimulatedConsumer Consumer(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer) =>
            new Deaf(kafka, name, callbacks, deserializer);

        private sealed class Deaf(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer)
            : SimulatedConsumer(kafka, name, callbacks, deserializer)
        {
            protected override void OnRevoked(List<TopicPartitionOffset> partitions)
            {
            }
        }
    }

    /// <summary>Closing the consumer commits its positions, which is the client's default.</summary>
    private sealed class LoseTheLastBatchOnShutdown : PlantedBug
    {
        public override SimulatedConsumer Consumer(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer) =>
            new Committing(kafka, name, callbacks, deserializer);

        private sealed class Committing(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer)
            : SimulatedConsumer(kafka, name, callbacks, deserializer)
        {
            public override void Close()
            {
                Kafka.RequestAsync(new CommitRequest(this, [.. Positions.Select(position => new TopicPartitionOffset(position.Key.TopicPartition, position.Value))]));
                Kafka.Resolve(Kafka.Requests[^1], does: true, answers: true);
                Leave();
            }
        }
    }

    /// <summary>A paused partition resumes one row too late.</summary>
    private sealed class SkipOneOnResume : PlantedBug
    {
        public override SimulatedConsumer Consumer(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer) =>
            new Skipping(kafka, name, callbacks, deserializer);

        private sealed class Skipping(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer)
            : SimulatedConsumer(kafka, name, callbacks, deserializer)
        {
            protected override void Resume(IEnumerable<TopicPartition> partitions)
            {
                var logs = partitions.Select(Kafka.Find).ToList();
                foreach (var log in logs.Where(log => Paused.Contains(log) && Positions.TryGetValue(log, out var at) && at < log.Rows.Count))
                {
                    Move(log, Positions[log] + 1);
                }

                base.Resume(partitions);
            }
        }
    }

    /// <summary>A rebuild starts one row too late.</summary>
    private sealed class WrongRewind : PlantedBug
    {
        public override SimulatedConsumer Consumer(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer) =>
            new Rewinding(kafka, name, callbacks, deserializer);

        private sealed class Rewinding(SimulatedKafka kafka, string name, RebalanceCallbacks callbacks, IDeserializer<Row> deserializer)
            : SimulatedConsumer(kafka, name, callbacks, deserializer)
        {
            protected override Offset OffsetForTime(PartitionLog log) => base.OffsetForTime(log) is { IsSpecial: false } found ? found + 1 : Offset.End;
        }
    }

    /// <summary>The oldest window within retention is trimmed, too.</summary>
    private sealed class TrimTheWrongWindow : PlantedBug
    {
        public override SimulatedConnection Connection(Schedule schedule, SimulatedProcess process) => new Trimming(schedule, process);

        private sealed class Trimming(Schedule schedule, SimulatedProcess process) : SimulatedConnection(schedule.Redis, process.Name)
        {
            protected override RedisCommand CommandFor(string method, object?[] arguments)
            {
                if (method == nameof(IDatabase.SortedSetRangeByRankAsync))
                {
                    arguments[2] = (long)arguments[2]! + 1;
                }

                return base.CommandFor(method, arguments);
            }
        }
    }

    /// <summary>A dead letter that its topic will never accept is retried forever.</summary>
    private sealed class RetryWhatNeverPasses : PlantedBug
    {
        public override ErrorCode ProducerSays(ErrorCode error) =>
            error is ErrorCode.InvalidRecord or ErrorCode.MsgSizeTooLarge ? ErrorCode.Local_MsgTimedOut : error;
    }

    /// <summary>A defect of the service is retried as if Redis were down.</summary>
    private sealed class TakeADefectForAnOutage : PlantedBug
    {
        public override SimulatedConnection Connection(Schedule schedule, SimulatedProcess process) => new Patient(schedule, process);

        private sealed class Patient(Schedule schedule, SimulatedProcess process) : SimulatedConnection(schedule.Redis, process.Name)
        {
            protected override Exception Defect => new RedisTimeoutException(CommandFlags.None, "No answer in time.", CommandStatus.Sent);
        }
    }

    private static List<RedisCommand> Sets(IEnumerable<RedisCommand> commands) => [.. commands.Where(command => command.Name == "HSET")];
}
