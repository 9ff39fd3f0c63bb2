using System.Runtime.InteropServices;
using System.Text;
using Confluent.Kafka;

namespace Cache.Embedded;

/// <summary>
/// A Kafka cluster inside this process: librdkafka's mock brokers on loopback ports, speaking the real protocol to any
/// client, also of another process. For development and tests.
/// </summary>
/// <remarks>
/// <para>Records live in memory only: a partition keeps the newest 5 MiB or 100,000 records.</para>
/// <para>A topic that nobody created appears with 4 partitions when a client first asks for it. The admin request to
/// create topics is not answered: use <see cref="CreateTopic"/>.</para>
/// <para>An empty fetch is held for the consumer's whole <c>fetch.wait.max.ms</c>, even when a record arrives meanwhile:
/// consumers that care for latency set a few milliseconds.</para>
/// <para>Each change of a group waits for <c>session.timeout.ms</c> less a second, whoever has joined by then, and takes no
/// commit meanwhile: consumers that share a group set a short session. A member whose SyncGroup comes after the leader's has to
/// join once more, which takes as long again.</para>
/// <para><see cref="ClientSettings"/> suit clients to all that.</para>
/// <para>Members are safe to call from any thread. After disposal they throw <see cref="ObjectDisposedException"/>;
/// disposing again does nothing.</para>
/// </remarks>
public sealed class EmbeddedKafka : IAsyncDisposable
{
    private const int AllBrokers = -1;
    private const int NoLeader = -1;

    // The mock's default is 3 s, as a broker's. This is long enough for members that start together to share a generation.
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

    /// <summary>librdkafka's properties for consumers of the brokers here; what is not among them may stay at its default.</summary>
    public static IReadOnlyDictionary<string, string> ClientSettings { get; } = new Dictionary<string, string>
    {
        // How long an empty fetch is held. Idle, one consumer of 12 partitions costs 7 % of a core at 5 ms, 4.5 % at 10 ms,
        // 2.6 % at 20 ms, 0.4 % at the default of 500 ms.
        ["fetch.wait.max.ms"] = "10",

        // A change of the group takes this less a second, and a member that came takes two changes or three. Two services of 12
        // partitions, on two busy cores: one that starts has its share within 6 s of listening, and within 8 s when 60 threads
        // wait for the cores; one that is killed has lost its to the other after 4.2 s. The default of 45 s took 90 s for
        // either, up to 170 s. The short session was never missed, by those 60 threads either.
        ["session.timeout.ms"] = "2000",

        // The others have to hear of a change, and to join again, within that one second.
        ["heartbeat.interval.ms"] = "300",

        // A member that waits for others while the brokers stand still for a second is forgotten, and never answered. It asks
        // again after this time and 3 s more. The longest pause of the service between two polls, a revocation, is 12 s.
        ["max.poll.interval.ms"] = "15000",
    }.AsReadOnly();

    /// <summary>The brokers' addresses, <c>host:port</c> with commas; stays readable after disposal.</summary>
    public string BootstrapServers { get; }

    /// <summary>How many brokers there are; their ids are 1 to this number.</summary>
    public int BrokerCount { get; }

    /// <summary>Starts a cluster on free loopback ports.</summary>
    /// <param name="brokers">Number of brokers, 1 to 100.</param>
    /// <param name="cancellationToken">Gives up before the cluster is started.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="brokers"/> is out of range.</exception>
    /// <exception cref="KafkaException">The native library cannot start the brokers.</exception>
    public static Task<EmbeddedKafka> StartAsync(int brokers = 3, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(brokers, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(brokers, 100);

        // Loading the library and starting its threads blocks.
        return Task.Run(() => Start(brokers), cancellationToken);
    }

    /// <summary>Creates a topic; the leaders are spread over the brokers.</summary>
    /// <param name="name">Topic name.</param>
    /// <param name="partitions">Number of partitions, 1 or more.</param>
    /// <param name="replicas">Replicas a partition, 1 to <see cref="BrokerCount"/>. Breaking a broker moves no leader.</param>
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

    /// <summary>Deletes a topic with its records; it comes back empty when a client asks for it by name.</summary>
    /// <param name="name">Topic name.</param>
    /// <exception cref="KafkaException">There is no such topic.</exception>
    public void DeleteTopic(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        Call(cluster => NativeKafka.TopicDelete(cluster, name), $"Topic {name} was not deleted");
    }

    /// <summary>Drops a partition's oldest records, as retention does.</summary>
    /// <param name="topic">Topic name.</param>
    /// <param name="partition">Partition, from 0.</param>
    /// <param name="beforeOffset">The first offset to stay.</param>
    /// <exception cref="KafkaException">There is no such partition, or it does not reach this offset.</exception>
    public void DeleteRecords(string topic, int partition, long beforeOffset)
    {
        ArgumentException.ThrowIfNullOrEmpty(topic);
        Call(
            cluster => NativeKafka.PartitionDeleteRecords(cluster, topic, partition, beforeOffset),
            $"Records of {topic}[{partition}] before {beforeOffset} were not deleted");
    }

    /// <summary>
    /// Takes a broker away: its connections close and new ones are refused. Leaders and coordinators stay with it.
    /// </summary>
    /// <param name="id">Broker id, 1 to <see cref="BrokerCount"/>.</param>
    public void BreakBroker(int id)
    {
        RequireBroker(id);
        Call(cluster => NativeKafka.BrokerSetDown(cluster, id), $"Broker {id} was not taken down");
    }

    /// <summary>Brings a broker back at its old address, with its records.</summary>
    /// <param name="id">Broker id, 1 to <see cref="BrokerCount"/>.</param>
    public void MendBroker(int id)
    {
        RequireBroker(id);
        Call(cluster => NativeKafka.BrokerSetUp(cluster, id), $"Broker {id} was not brought up");
    }

    /// <summary>Takes all brokers away.</summary>
    public void BreakAllBrokers() =>
        Call(static cluster => NativeKafka.BrokerSetDown(cluster, AllBrokers), "The brokers were not taken down");

    /// <summary>Brings all brokers back.</summary>
    public void MendAllBrokers() =>
        Call(static cluster => NativeKafka.BrokerSetUp(cluster, AllBrokers), "The brokers were not brought up");

    /// <summary>Delays every answer of all brokers.</summary>
    /// <param name="roundTrip">0 to 1 hour, in whole milliseconds.</param>
    public void SetRoundTrip(TimeSpan roundTrip) => SetRoundTripOf(AllBrokers, roundTrip);

    /// <summary>Delays every answer of one broker.</summary>
    /// <param name="id">Broker id, 1 to <see cref="BrokerCount"/>.</param>
    /// <param name="roundTrip">0 to 1 hour, in whole milliseconds.</param>
    public void SetRoundTrip(int id, TimeSpan roundTrip)
    {
        RequireBroker(id);
        SetRoundTripOf(id, roundTrip);
    }

    /// <summary>Sets how long a group that was empty waits for more members before it gives out partitions.</summary>
    /// <param name="delay">0 to 1 hour, in whole milliseconds; 100 ms at the start.</param>
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
    /// Fails the next requests of a kind, one error each, whichever broker they go to;
    /// <see cref="ErrorCode.Local_Transport"/> drops the connection, <see cref="ErrorCode.NoError"/> lets one pass.
    /// </summary>
    /// <param name="request">The kind of request.</param>
    /// <param name="errors">The errors in order; they come after those pushed before.</param>
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

    /// <summary>Forgets the errors pushed for a kind of request.</summary>
    /// <param name="request">The kind of request.</param>
    public void ClearRequestErrors(KafkaRequest request) =>
        Call(
            cluster =>
            {
                NativeKafka.ClearRequestErrors(cluster, (short)request);
                return NativeKafka.Success;
            },
            "The errors were not cleared");

    /// <summary>Makes metadata requests for a topic fail; the topic is created if it does not exist.</summary>
    /// <param name="topic">Topic name.</param>
    /// <param name="error">The error, or <see cref="ErrorCode.NoError"/> to end it.</param>
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

    /// <summary>Gives a partition another leader; the topic is created if it does not exist.</summary>
    /// <param name="topic">Topic name.</param>
    /// <param name="partition">Partition, from 0.</param>
    /// <param name="broker">Broker id, 1 to <see cref="BrokerCount"/>, or null to leave it without a leader.</param>
    /// <exception cref="KafkaException">There is no such partition.</exception>
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

    /// <summary>Gives a consumer group another coordinator; the group itself is known to all brokers.</summary>
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

    /// <summary>Stops the brokers and forgets their records.</summary>
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

    /// <summary>The mock needs a client for its bookkeeping: one that connects nowhere and says nothing on stderr.</summary>
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

    /// <summary>The lock keeps the cluster from being freed under a call.</summary>
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
