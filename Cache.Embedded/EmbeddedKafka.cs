using System.Runtime.InteropServices;
using System.Text;
using Confluent.Kafka;

namespace Cache.Embedded;

/// <summary>
/// An in-process Kafka cluster: librdkafka's mock brokers on loopback ports. They speak the real protocol to any client, in this
/// process or another. For development and tests.
/// </summary>
/// <remarks>
/// <para>Records are held in memory only: a partition keeps the newest 5 MiB or 100,000 records.</para>
/// <para>A missing topic is created with 4 partitions when a client first requests it. CreateTopics requests are not
/// answered: use <see cref="CreateTopic"/>.</para>
/// <para>An empty fetch is held for the consumer's full <c>fetch.wait.max.ms</c>, even if a record arrives in the meantime, so
/// latency-sensitive consumers set a few milliseconds.</para>
/// <para>Every rebalance takes <c>session.timeout.ms</c> less a second, no matter who has joined by then, and commits are refused
/// meanwhile, so consumers that share a group set a short session. A member whose SyncGroup arrives after the leader's has to
/// rejoin, which takes as long again.</para>
/// <para><see cref="ClientSettings"/> account for all of this.</para>
/// <para>Members are safe to call from any thread. After disposal they throw <see cref="ObjectDisposedException"/>;
/// disposing again does nothing.</para>
/// </remarks>
public sealed class EmbeddedKafka : IAsyncDisposable
{
    private const int AllBrokers = -1;
    private const int NoLeader = -1;

    // The mock defaults to 3 s, like a real broker. This is long enough for members that start together to share a generation.
    private static readonly TimeSpan DefaultInitialRebalanceDelay = TimeSpan.FromMilliseconds(100);

    private readonly Lock _lock = new();
    private readonly nint _client;
    private nint _cluster;

    private EmbeddedKafka(nint client, nint cluster, int brokers)
    {
        _client = client;
        _cluster = cluster;
        BrokerCount = brokers;
        BootstrapServers = Marshal.PtrToStringUTF8(NativeKafka.ClusterBootstraps(cluster))!;
    }

    /// <summary>librdkafka properties for consumers of these brokers; everything else may keep its default.</summary>
    public static IReadOnlyDictionary<string, string> ClientSettings { get; } = new Dictionary<string, string>
    {
        // How long an empty fetch is held. One idle consumer of 12 partitions costs 7 % of a core at 5 ms, 4.5 % at 10 ms,
        // 2.6 % at 20 ms, 0.4 % at the default of 500 ms.
        ["fetch.wait.max.ms"] = "10",

        // A rebalance takes this less a second, and a new member costs two or three rebalances. Measured with two services and 12
        // partitions on two busy cores: a new service has its share within 6 s of listening, and within 8 s when 60 threads
        // compete for the cores; a killed one has lost its share to the other after 4.2 s. With the default of 45 s, both took
        // 90 s, and up to 170 s. No member ever missed the short session, not even with those 60 threads.
        ["session.timeout.ms"] = "2000",

        // The other members have to notice a rebalance, and rejoin, within that one second.
        ["heartbeat.interval.ms"] = "300",

        // If the brokers stall for a second, a member waiting for others is forgotten and never gets its answer. It asks again
        // after this time plus 3 s. The service's longest pause between two polls, a revocation, is 12 s.
        ["max.poll.interval.ms"] = "15000",
    }.AsReadOnly();

    /// <summary>The brokers' addresses, <c>host:port</c>, comma-separated; still readable after disposal.</summary>
    public string BootstrapServers { get; }

    /// <summary>Number of brokers; their ids are 1 to this number.</summary>
    public int BrokerCount { get; }

    /// <summary>Starts a cluster on free loopback ports.</summary>
    /// <param name="brokers">Number of brokers, 1 to 100.</param>
    /// <param name="cancellationToken">Cancels the start, until it has begun.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="brokers"/> is out of range.</exception>
    /// <exception cref="KafkaException">The native library cannot start the brokers.</exception>
    public static Task<EmbeddedKafka> StartAsync(int brokers = 3, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(brokers, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(brokers, 100);

        // Loading the library and starting its threads blocks.
        return Task.Run(() => Start(brokers), cancellationToken);
    }

    /// <summary>Creates a topic and spreads its leaders over the brokers.</summary>
    /// <param name="name">Topic name.</param>
    /// <param name="partitions">Number of partitions, 1 or more.</param>
    /// <param name="replicas">Replicas per partition, 1 to <see cref="BrokerCount"/>. Breaking a broker moves no leader.</param>
    /// <exception cref="ArgumentException">A name is missing or a number out of range.</exception>
    /// <exception cref="KafkaException">The topic exists (<see cref="ErrorCode.TopicAlreadyExists"/>).</exception>
    public void CreateTopic(string name, int partitions = 6, int replicas = 1)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentOutOfRangeException.ThrowIfLessThan(partitions, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(replicas, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(replicas, BrokerCount);
        Call(cluster => NativeKafka.TopicCreate(cluster, name, partitions, replicas), $"Topic {name} was not created");
    }

    /// <summary>Deletes a topic and its records; a client that requests it by name recreates it, empty.</summary>
    /// <param name="name">Topic name.</param>
    /// <exception cref="KafkaException">The topic does not exist.</exception>
    public void DeleteTopic(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        Call(cluster => NativeKafka.TopicDelete(cluster, name), $"Topic {name} was not deleted");
    }

    /// <summary>Deletes a partition's oldest records, as retention does.</summary>
    /// <param name="topic">Topic name.</param>
    /// <param name="partition">Partition, from 0.</param>
    /// <param name="beforeOffset">The first offset to keep.</param>
    /// <exception cref="KafkaException">The partition does not exist, or ends before this offset.</exception>
    public void DeleteRecords(string topic, int partition, long beforeOffset)
    {
        ArgumentException.ThrowIfNullOrEmpty(topic);
        Call(
            cluster => NativeKafka.PartitionDeleteRecords(cluster, topic, partition, beforeOffset),
            $"Records of {topic}[{partition}] before {beforeOffset} were not deleted");
    }

    /// <summary>
    /// Takes a broker down: its connections close and new ones are refused. It remains leader and coordinator.
    /// </summary>
    /// <param name="id">Broker id, 1 to <see cref="BrokerCount"/>.</param>
    public void BreakBroker(int id)
    {
        RequireBroker(id);
        TakeDown(id, $"Broker {id} was not taken down");
    }

    /// <summary>Brings a broker back up at its old address, with its records.</summary>
    /// <param name="id">Broker id, 1 to <see cref="BrokerCount"/>.</param>
    public void MendBroker(int id)
    {
        RequireBroker(id);
        Call(cluster => NativeKafka.BrokerSetUp(cluster, id), $"Broker {id} was not brought up");
    }

    /// <summary>Takes all brokers down.</summary>
    public void BreakAllBrokers() => TakeDown(AllBrokers, "The brokers were not taken down");

    /// <summary>Brings all brokers back up.</summary>
    public void MendAllBrokers() =>
        Call(static cluster => NativeKafka.BrokerSetUp(cluster, AllBrokers), "The brokers were not brought up");

    /// <summary>Delays every response of all brokers.</summary>
    /// <param name="roundTrip">0 to 1 hour, in whole milliseconds.</param>
    public void SetRoundTrip(TimeSpan roundTrip) => SetRoundTripOf(AllBrokers, roundTrip);

    /// <summary>Delays every response of one broker.</summary>
    /// <param name="id">Broker id, 1 to <see cref="BrokerCount"/>.</param>
    /// <param name="roundTrip">0 to 1 hour, in whole milliseconds.</param>
    public void SetRoundTrip(int id, TimeSpan roundTrip)
    {
        RequireBroker(id);
        SetRoundTripOf(id, roundTrip);
    }

    /// <summary>Sets how long a previously empty group waits for more members before it assigns partitions.</summary>
    /// <param name="delay">0 to 1 hour, in whole milliseconds; initially 100 ms.</param>
    public void SetInitialRebalanceDelay(TimeSpan delay)
    {
        var milliseconds = Milliseconds(delay);
        Call(
            cluster =>
            {
                NativeKafka.InitialRebalanceDelay(cluster, milliseconds);
                return NativeKafka.Success;
            },
            "The rebalance delay was not set");
    }

    /// <summary>
    /// Fails the next requests of a kind, one per error, on any broker;
    /// <see cref="ErrorCode.Local_Transport"/> drops the connection, <see cref="ErrorCode.NoError"/> lets a request succeed.
    /// </summary>
    /// <param name="request">The kind of request.</param>
    /// <param name="errors">The errors, in order, queued behind those already pushed.</param>
    public void PushRequestErrors(KafkaRequest request, params ErrorCode[] errors)
    {
        ArgumentNullException.ThrowIfNull(errors);
        var codes = Array.ConvertAll(errors, static error => (int)error);
        Call(
            cluster =>
            {
                NativeKafka.PushRequestErrors(cluster, (short)request, (nuint)codes.Length, codes);
                return NativeKafka.Success;
            },
            "The errors were not pushed");
    }

    /// <summary>Discards the errors pushed for a kind of request.</summary>
    /// <param name="request">The kind of request.</param>
    public void ClearRequestErrors(KafkaRequest request) =>
        Call(
            cluster =>
            {
                NativeKafka.ClearRequestErrors(cluster, (short)request);
                return NativeKafka.Success;
            },
            "The errors were not cleared");

    /// <summary>Makes metadata requests for a topic fail; creates the topic if it does not exist.</summary>
    /// <param name="topic">Topic name.</param>
    /// <param name="error">The error, or <see cref="ErrorCode.NoError"/> to clear it.</param>
    public void SetTopicError(string topic, ErrorCode error)
    {
        ArgumentException.ThrowIfNullOrEmpty(topic);
        Call(
            cluster =>
            {
                NativeKafka.TopicSetError(cluster, topic, (int)error);
                return NativeKafka.Success;
            },
            "The topic's error was not set");
    }

    /// <summary>Moves a partition to another leader; creates the topic if it does not exist.</summary>
    /// <param name="topic">Topic name.</param>
    /// <param name="partition">Partition, from 0.</param>
    /// <param name="broker">Broker id, 1 to <see cref="BrokerCount"/>, or null for no leader.</param>
    /// <exception cref="KafkaException">The partition does not exist.</exception>
    public void MoveLeader(string topic, int partition, int? broker)
    {
        ArgumentException.ThrowIfNullOrEmpty(topic);
        if (broker is { } id)
        {
            RequireBroker(id);
        }

        Call(
            cluster => NativeKafka.PartitionSetLeader(cluster, topic, partition, broker ?? NoLeader),
            $"The leader of {topic}[{partition}] was not moved");
    }

    /// <summary>Moves a consumer group to another coordinator; every broker knows the group itself.</summary>
    /// <param name="group">Consumer group.</param>
    /// <param name="broker">Broker id, 1 to <see cref="BrokerCount"/>.</param>
    public void MoveCoordinator(string group, int broker)
    {
        ArgumentException.ThrowIfNullOrEmpty(group);
        RequireBroker(broker);
        Call(
            cluster => NativeKafka.CoordinatorSet(cluster, "group", group, broker),
            $"The coordinator of group {group} was not moved");
    }

    /// <summary>Stops the brokers and discards their records.</summary>
    public async ValueTask DisposeAsync()
    {
        nint cluster;
        lock (_lock)
        {
            (cluster, _cluster) = (_cluster, 0);
        }

        if (cluster != 0)
        {
            await Task.Run(() =>
            {
                NativeKafka.ClusterDestroy(cluster);
                NativeKafka.Destroy(_client);
            });
        }
    }

    private static EmbeddedKafka Start(int brokers)
    {
        var client = NewClient();
        var cluster = NativeKafka.ClusterNew(client, brokers);
        if (cluster == 0)
        {
            NativeKafka.Destroy(client);
            throw new KafkaException(new Error(ErrorCode.Local_Fail, $"The embedded Kafka did not start with {brokers} brokers"));
        }

        var kafka = new EmbeddedKafka(client, cluster, brokers);
        kafka.SetInitialRebalanceDelay(DefaultInitialRebalanceDelay);
        return kafka;
    }

    /// <summary>The mock needs a client for its bookkeeping. This one connects to nothing and prints nothing to stderr.</summary>
    private static nint NewClient()
    {
        Span<byte> error = stackalloc byte[512];
        var conf = NativeKafka.ConfNew();
        if (NativeKafka.ConfSet(conf, "log_level", "0", error, (nuint)error.Length) != NativeKafka.Success)
        {
            NativeKafka.ConfDestroy(conf);
            throw NotStarted(error);
        }

        var client = NativeKafka.New(NativeKafka.ProducerType, conf, error, (nuint)error.Length);
        if (client == 0)
        {
            NativeKafka.ConfDestroy(conf);
            throw NotStarted(error);
        }

        return client;
    }

    private static KafkaException NotStarted(ReadOnlySpan<byte> error)
    {
        var end = error.IndexOf((byte)0);
        var reason = Encoding.UTF8.GetString(end < 0 ? error : error[..end]);
        return new KafkaException(new Error(ErrorCode.Local_Fail, $"The embedded Kafka did not start: {reason}"));
    }

    private static int Milliseconds(TimeSpan value)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(value, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(value, TimeSpan.FromHours(1));
        return (int)value.TotalMilliseconds;
    }

    private void SetRoundTripOf(int broker, TimeSpan roundTrip)
    {
        var milliseconds = Milliseconds(roundTrip);
        Call(cluster => NativeKafka.BrokerSetRoundTrip(cluster, broker, milliseconds), "The round trip was not set");
    }

    private void RequireBroker(int id)
    {
        if (id < 1 || id > BrokerCount)
        {
            throw new ArgumentOutOfRangeException(nameof(id), id, $"Broker ids are 1 to {BrokerCount}.");
        }
    }

    /// <summary>Takes brokers down: each closes its listener, and binds another one to the same port for later.</summary>
    private void TakeDown(int broker, string failure) => Call(cluster => Listeners.Change(() => NativeKafka.BrokerSetDown(cluster, broker)), failure);

    /// <summary>Calls the library under the lock, which keeps the cluster from being freed during the call.</summary>
    private void Call(Func<nint, int> call, string failure)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_cluster == 0, this);
            var code = (ErrorCode)call(_cluster);
            if (code != ErrorCode.NoError)
            {
                throw new KafkaException(new Error(code, $"{failure}: {new Error(code).Reason}"));
            }
        }
    }
}
