using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Enqueue;
using Cache.Service.Flush;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Tests.Consume;
using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cache.Tests.Simulation;

/// <summary>
/// One process of the service: its own classes, wired as in the service, on a simulated consumer, producer and connection.
/// Nothing in it runs unless the schedule runs it.
/// </summary>
internal sealed class SimulatedProcess
{
    // Shared: nobody reads them, and creating them takes longer than a schedule.
    private static readonly ServiceProvider Metrics = new ServiceCollection().AddMetrics().AddSingleton(TimeProvider.System)
        .AddPartitions().AddConsume().AddPersist().AddFlush().BuildServiceProvider();

    private static readonly ConsumeMetrics Consumed = Metrics.GetRequiredService<ConsumeMetrics>();
    private static readonly PersistMetrics Persisted = Metrics.GetRequiredService<PersistMetrics>();
    private static readonly FlushMetrics Flushed = Metrics.GetRequiredService<FlushMetrics>();

    private readonly Assignment _assignment = new();
    private readonly RowQueue _queue;
    private readonly Rebalance _rebalance;
    private readonly Action _turn;
    private readonly Task[] _workers;
    private readonly PlantedBug? _bug;

    public SimulatedProcess(string name, Schedule schedule, CacheOptions options, PlantedBug? bug)
    {
        (Name, _bug) = (name, bug);
        var time = schedule.Clock;
        Connection = bug?.Connection(schedule, this) ?? new SimulatedConnection(schedule.Redis, name);
        _queue = new(options);
        BlockUntil blockUntil = (work, timeout) => schedule.Block(this, work, timeout);
        var deserializer = new RowDeserializer(options, time);
        var callbacks = new RebalanceCallbacks();
        Consumer = bug?.Consumer(schedule.Kafka, name, callbacks, deserializer) ?? new SimulatedConsumer(schedule.Kafka, name, callbacks, deserializer);
        var positions = new StartPositions(Consumer, options, blockUntil, time, NullLogger<StartPositions>.Instance);
        var topics = new Topics(Consumer, positions, options, Consumed, new KafkaErrors(time, NullLogger<KafkaErrors>.Instance), time, NullLogger<Topics>.Instance);
        var membership = new Membership(schedule.Kafka.SessionTimeout, time);
        var committer = new OffsetCommitter(Consumer, _assignment, membership, options, Consumed, time, null!, NullLogger<OffsetCommitter>.Instance);
        callbacks.Handler = _rebalance = new(_assignment, positions, _queue, committer, blockUntil, Consumed, time, NullLogger<Rebalance>.Instance);
        var rebuilds = new RebuildRequests();
        var pressure = new BackPressure(_queue, _assignment, time, NullLogger<BackPressure>.Instance);
        var schemas = NoSchemas.Registry(options, time);
        var poller = new Poller(
            _assignment, topics, pressure, new Repositioning(_assignment, positions, pressure, Consumed, time, NullLogger<Repositioning>.Instance),
            new Rewinding(_assignment, positions, rebuilds, options, Consumed, time, NullLogger<Rewinding>.Instance), new SchemaWaits(pressure, schemas), time, NullLogger<Poller>.Instance);
        var producer = new DeadLetterProducer(_ => Proxy.Of<IProducer<byte[]?, byte[]?>>(OnProducer));

        var link = RedisConnection.Over(Connection.Multiplexer, options);
        var keys = new RedisKeys(options);
        var epoch = new RedisEpoch(link, keys, _assignment, membership, rebuilds, NullLogger<RedisEpoch>.Instance);
        var store = new WindowStore(link, keys, options, new SessionStore(keys, options, Persisted, time), new DimensionLimit(keys, options), Persisted);
        var logger = NullLogger<FlushWorker>.Instance;
        var retry = new BatchRetry(Flushed, time, schedule.Random, logger);
        var guard = new WriteGuard(store, epoch, membership, committer, time, logger);
        var deadLetters = new DeadLetterFlush(new ReadyDeadLetters(producer, options, time), new RowReader(options), retry, schemas, options, time);
        var writer = new BatchWriter(store, guard, deadLetters, retry, committer, Flushed, time, logger);
        var flush = new FlushWorker(_queue, writer, guard, options, time, null!, logger);
        foreach (var topic in options.Topics)
        {
            positions.NoteTopic(topic, schedule.Kafka.Logs.Count(log => log.Topic == topic));
        }

        var rows = bug?.Rows(Consumer, Pass) ?? (schedule.HasBatches ? new SimulatedBatches(Consumer, Pass) : new SingleRows(Consumer.Client));
        _turn = () => poller.Turn(rows);
        void Pass(TimeSpan time) => blockUntil(new TaskCompletionSource().Task, time);
        schedule.Kafka.Join(Consumer);
        _workers = new Task[2];
        Threads.Run(() =>
        {
            _workers[0] = flush.RunAsync(CancellationToken.None);
            _workers[1] = committer.RunAsync(CancellationToken.None);
        });
    }

    public string Name { get; }

    public SimulatedThreads Threads { get; } = new();

    public SimulatedConsumer Consumer { get; }

    public SimulatedConnection Connection { get; }

    /// <summary>Whether a signal has suspended it; everything else continues.</summary>
    public bool IsFrozen { get; private set; }

    /// <summary>Whether it was killed, or has ended.</summary>
    public bool IsDead { get; private set; }

    /// <summary>Whether its consume thread is waiting inside a callback.</summary>
    public bool IsBlocked { get; set; }

    /// <summary>When the host's stop timeout expires.</summary>
    public TimeSpan StopsUntil { get; set; }

    /// <summary>Whether it was asked to stop.</summary>
    public bool IsStopping { get; private set; }

    /// <summary>Whether it has finished stopping.</summary>
    public bool HasEnded => _workers[0].IsCompleted;

    /// <summary>Why a worker failed; normally null.</summary>
    public Exception? Failure => Array.Find(_workers, worker => worker.IsFaulted)?.Exception?.InnerException;

    public override string ToString() => Name;

    /// <summary>Runs one turn of the consume loop.</summary>
    public void Turn() => Threads.Run(_turn);

    /// <summary>Stops it as the host does; that leaves nothing for the committer to do.</summary>
    public void Stop()
    {
        IsStopping = true;
        Threads.Run(() =>
        {
            _rebalance.Leave();
            Consumer.Close();
            _assignment.RevokeAll();
            _queue.Complete();
        });
    }

    /// <summary>Kills it; what it has sent may still arrive.</summary>
    public void Kill()
    {
        IsDead = true;
        Consumer.IsRunning = false;
        Threads.End();
    }

    public void Freeze(bool frozen)
    {
        IsFrozen = frozen;
        Consumer.IsRunning = !frozen;
    }

    private object? OnProducer(string method, object?[] arguments) => method == nameof(IProducer<,>.ProduceAsync)
        ? Consumer.Kafka.RequestAsync(new ProduceRequest(Consumer, (Message<byte[]?, byte[]?>)arguments[1]!, error => _bug?.ProducerSays(error) ?? error))
        : throw new NotSupportedException($"The simulation has no {method}.");

    /// <summary>Dead letters whose topic always exists.</summary>
    private sealed class ReadyDeadLetters(DeadLetterProducer producer, CacheOptions options, TimeProvider time)
        : DeadLetters(producer, options, Persisted, time, NullLogger<DeadLetters>.Instance)
    {
        protected override Task EnsureTopicAsync(IProducer<byte[]?, byte[]?> client) => Task.CompletedTask;
    }
}
