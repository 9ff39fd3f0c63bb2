using System.Globalization;
using System.Security.Cryptography;
using Cache.Service.Hosting;
using Cache.Service.Options;
using Cache.Service.Persist;
using Cache.Service.Telemetry;
using StackExchange.Redis;

namespace Cache.Service.Http;

/// <summary>
/// Listens to the updates of every replica and keeps the latest in a ring that all streams read from, each at its own
/// position: an update costs a stream no more than being woken. A client that reconnects resumes at its position. If that
/// position is no longer in the ring, or precedes a gap in the subscription, the client gets a resync: read everything again.
/// </summary>
internal sealed partial class UpdateHub(RedisConnection redis, RedisKeys keys, CacheOptions options, StreamMetrics metrics, TimeProvider time, FatalError fatal, ILogger<UpdateHub> logger)
    : Worker(fatal, time, logger)
{
    /// <summary>Updates kept in the ring: a few seconds' worth under load, minutes otherwise.</summary>
    public const int KeptUpdates = 2048;

    // Windows with many dimensions make large updates.
    private const long MaxKeptBytes = 32 * 1024 * 1024;

    /// <summary>How often a stream gets a sign of life: well below the minute after which proxies close an idle connection.</summary>
    public static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);

    // A connection that is cut off on the network looks like a channel without messages. The client library notices after
    // 20 s of commands without a reply, or after a minute without commands; streams get a resync within 5 s.
    private static readonly TimeSpan PingInterval = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan PingTimeout = TimeSpan.FromSeconds(3);

    // Distinguishes this process's event ids from those of other replicas, and from those before a restart.
    private readonly string _instance = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4));

    // Written under the gate, read without it: a slot is valid if the update in it has the expected number.
    private readonly Update?[] _ring = new Update?[KeptUpdates];
    private readonly Lock _gate = new();
    private readonly Lock _clientsGate = new();
    private volatile StreamClient[] _clients = [];
    private ISubscriber? _subscriber;
    private volatile bool _isSilent;
    private bool _loggedIgnored;
    private long _last;
    private long _lastGap;
    private long _oldest = 1;
    private long _keptBytes;

    /// <summary>The last update of each type.</summary>
    public LatestUpdates Latest { get; } = new(options);

    /// <summary>The number of open streams.</summary>
    public int Clients => _clients.Length;

    /// <summary>The number of the last update or gap.</summary>
    public long Last => Volatile.Read(ref _last);

    /// <summary>Whether updates arrive: false before the first subscription, and while the subscription is lost or silent.</summary>
    public bool IsListening => !_isSilent && IsSubscribed;

    /// <summary>Whether the subscription looks healthy although nothing comes through it.</summary>
    public bool IsSilent => _isSilent;

    private bool IsSubscribed =>
        Volatile.Read(ref _subscriber) is { } subscriber && subscriber.SubscribedEndpoint(keys.Updates) is not null && subscriber.IsConnected(keys.Updates);

    /// <summary>The event id of an update.</summary>
    public string IdOf(long number) => string.Create(CultureInfo.InvariantCulture, $"{_instance}-{number}");

    /// <summary>Opens a stream.</summary>
    /// <param name="lastEventId">The last event id that the client saw; null for a new client.</param>
    public StreamClient Open(string? lastEventId)
    {
        var client = new StreamClient(this, lastEventId is null ? "start" : "gap");
        if (TryNumber(lastEventId, out var seen) && seen <= Last && (seen == Last || Find(seen + 1) is not null))
        {
            client.ResumeAfter(seen);
        }

        lock (_clientsGate)
        {
            _clients = [.. _clients, client];
        }

        return client;
    }

    /// <summary>Closes a stream.</summary>
    public void Close(StreamClient client)
    {
        lock (_clientsGate)
        {
            _clients = Array.FindAll(_clients, other => other != client);
        }
    }

    /// <summary>Receives a message from the channel. A message that is not an update is ignored, which is logged once.</summary>
    public void Receive(byte[] message)
    {
        lock (_gate)
        {
            var number = _last + 1;
            if (Update.Read(number, message, IdOf(number), Latest.Types) is not { } update)
            {
                metrics.UpdateIgnored();
                if (!_loggedIgnored)
                {
                    _loggedIgnored = true;
                    LogIgnored(keys.Updates.ToString());
                }

                return;
            }

            _keptBytes += update.Frame.Length;
            while (number - _oldest >= KeptUpdates || (_keptBytes > MaxKeptBytes && _oldest < number))
            {
                EvictOldest();
            }

            Volatile.Write(ref _ring[number % KeptUpdates], update);

            // Before any stream can send the update: a client that reads after it must not get an older answer.
            Latest.Note(update.Type, number);
            Volatile.Write(ref _last, number);
        }

        WakeAll();
    }

    /// <summary>Marks a gap: updates may have been missed, so every stream gets a resync.</summary>
    public void Gap()
    {
        lock (_gate)
        {
            while (_oldest <= _last)
            {
                EvictOldest();
            }

            // The gap takes a number of its own, so that an id from before it is no longer the latest.
            _oldest = _last + 2;
            Volatile.Write(ref _lastGap, _last + 1);
            Latest.NoteAll(_last + 1);
            Volatile.Write(ref _last, _last + 1);
        }

        WakeAll();
    }

    /// <summary>The update with a number; null if it is no longer in the ring, or does not exist.</summary>
    internal Update? Find(long number) => Volatile.Read(ref _ring[number % KeptUpdates]) is { } update && update.Number == number ? update : null;

    /// <summary>Why some updates after a number are missing; counts a client that was too slow.</summary>
    internal string LostSince(long number)
    {
        if (number < Volatile.Read(ref _lastGap))
        {
            return "gap";
        }

        metrics.Dropped();
        return "slow";
    }

    /// <inheritdoc/>
    protected internal override async Task RunAsync(CancellationToken stoppingToken)
    {
        await using var heartbeat = Time.CreateTimer(_ => Heartbeat(), null, HeartbeatInterval, HeartbeatInterval);
        var multiplexer = (await redis.GetAsync(stoppingToken)).Multiplexer;
        var subscriber = multiplexer.GetSubscriber();
        await SubscribeAsync(subscriber, stoppingToken);

        // The client library resubscribes on its own, but anything published in the meantime is lost.
        multiplexer.ConnectionFailed += (_, _) => Gap();
        multiplexer.ConnectionRestored += (_, _) => Gap();
        Volatile.Write(ref _subscriber, subscriber);
        LogListening();
        using var ping = new PeriodicTimer(PingInterval, Time);
        while (await ping.WaitForNextTickAsync(stoppingToken))
        {
            await PingAsync(subscriber, stoppingToken);
        }
    }

    /// <summary>Pings the connection of the subscription. Without a reply, clients of streams may be showing old data.</summary>
    private async Task PingAsync(ISubscriber subscriber, CancellationToken stoppingToken)
    {
        var last = Last;
        try
        {
            await subscriber.PingAsync().WaitAsync(PingTimeout, Time, stoppingToken);
        }
        catch (RedisException)
        {
            // A connection known to be lost has already marked its gap.
            return;
        }
        catch (TimeoutException)
        {
            // An update is as good as a reply, and a frozen Redis publishes nothing that could be missed.
            if (IsSubscribed && Last == last && await redis.AnswersAsync(stoppingToken))
            {
                if (!_isSilent)
                {
                    _isSilent = true;
                    LogSilent(PingTimeout.TotalSeconds);
                }

                // On every ping without a reply: while the subscription is silent, clients can only read.
                Gap();
            }

            return;
        }

        if (_isSilent)
        {
            _isSilent = false;
            LogListening();
            Gap();
        }
    }

    private async Task SubscribeAsync(ISubscriber subscriber, CancellationToken stoppingToken)
    {
        while (true)
        {
            try
            {
                // One message at a time, in order: a plain handler is called by several threads at once, so an older value
                // could overtake a newer one.
                (await subscriber.SubscribeAsync(keys.Updates)).OnMessage(message => Receive((byte[])message.Message!));
                return;
            }
            catch (Exception exception) when (Failures.IsRetryable(exception))
            {
                // The client library remembers a failed subscription: once Redis is back, its messages would pile up unread.
                subscriber.Unsubscribe(keys.Updates, flags: CommandFlags.FireAndForget);
                await Task.Delay(RetryInterval, Time, stoppingToken);
            }
        }
    }

    private void Heartbeat()
    {
        foreach (var client in _clients)
        {
            client.Heartbeat();
        }
    }

    private void WakeAll()
    {
        foreach (var client in _clients)
        {
            client.Wake();
        }
    }

    private void EvictOldest()
    {
        ref var slot = ref _ring[_oldest++ % KeptUpdates];
        _keptBytes -= slot?.Frame.Length ?? 0;
        Volatile.Write(ref slot, null);
    }

    private bool TryNumber(string? id, out long number)
    {
        number = 0;
        return id is not null && id.Split('-') is [var instance, var text] && instance == _instance
            && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);
    }

    [LoggerMessage(EventIds.Streaming + 1, LogLevel.Information, "Subscribed to updates.")]
    private partial void LogListening();

    [LoggerMessage(EventIds.Streaming + 2, LogLevel.Warning,
        "Ignoring a message on {Channel} that is not an update; later ones are only counted (cache_updates_ignored_total). Another program publishes there.")]
    private partial void LogIgnored(string channel);

    [LoggerMessage(EventIds.Streaming + 3, LogLevel.Warning,
        "The subscription to updates is silent: no reply within {Seconds} s. Until it replies, streams are told to read everything again.")]
    private partial void LogSilent(double seconds);
}
