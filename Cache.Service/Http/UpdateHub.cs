using System.Globalization;
using System.Security.Cryptography;
using System.Threading.Channels;
using Cache.Service.Hosting;
using Cache.Service.Model;
using Cache.Service.Persist;
using Cache.Service.Telemetry;
using StackExchange.Redis;

namespace Cache.Service.Http;

/// <summary>
/// Listens to the updates of every replica and keeps the last of them in one ring that all streams read from, each at its
/// own place: an update costs a stream no more than being woken. A client that comes back goes on at its place; one whose
/// place is no longer kept, or lies before a gap in the subscription, is told to read everything again.
/// </summary>
internal sealed partial class UpdateHub(RedisConnection redis, RedisKeys keys, StreamMetrics metrics, TimeProvider time, FatalError fatal, ILogger<UpdateHub> logger)
    : Worker(fatal, time, logger)
{
    /// <summary>Updates that are kept: some seconds' worth under load, minutes otherwise.</summary>
    public const int KeptUpdates = 2048;

    // Windows of many dimensions make large updates.
    private const long MaxKeptBytes = 32 * 1024 * 1024;

    // Below the minute after which proxies close a silent connection.
    private static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);

    // A connection that is cut off on its way looks like a channel on which nothing happens. The client library finds out after
    // 20 s of commands without a reply, or a minute without commands; streams are told within 5 s.
    private static readonly TimeSpan PingInterval = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan PingTimeout = TimeSpan.FromSeconds(3);

    // Tells this process's ids from those of another replica, or of its own last life.
    private readonly string _instance = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4));

    // Written under the gate, read without: a place holds what it should when the update there has the number looked for.
    private readonly Update?[] _ring = new Update?[KeptUpdates];
    private readonly Lock _gate = new();
    private readonly Lock _clientsGate = new();
    private volatile StreamClient[] _clients = [];
    private ISubscriber? _subscriber;
    private volatile bool _isSilent;
    private bool _saidIgnored;
    private long _last;
    private long _lastEvent;
    private long _lastPerformance;
    private long _lastGap;
    private long _oldest = 1;
    private long _keptBytes;

    /// <summary>Streams that are open.</summary>
    public int Clients => _clients.Length;

    /// <summary>The number of the last update, or gap.</summary>
    public long Last => Volatile.Read(ref _last);

    /// <summary>Whether updates are heard; not before the first subscription, nor while it is lost or silent.</summary>
    public bool IsListening => !_isSilent && IsSubscribed;

    /// <summary>Whether the subscription looks well, and yet nothing comes through it.</summary>
    public bool IsSilent => _isSilent;

    private bool IsSubscribed =>
        Volatile.Read(ref _subscriber) is { } subscriber && subscriber.SubscribedEndpoint(keys.Updates) is not null && subscriber.IsConnected(keys.Updates);

    /// <summary>The number of the last update of a type of windows, or of a gap.</summary>
    public long LastOf(RowKind kind) => Volatile.Read(ref kind == RowKind.Event ? ref _lastEvent : ref _lastPerformance);

    /// <summary>The event id of an update.</summary>
    public string IdOf(long number) => string.Create(CultureInfo.InvariantCulture, $"{_instance}-{number}");

    /// <summary>Opens a stream.</summary>
    /// <param name="lastEventId">What the client saw last; null for a client that is new.</param>
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

    /// <summary>Takes a message of the channel; what is no update is ignored, and that is said once.</summary>
    public void Receive(byte[] message)
    {
        lock (_gate)
        {
            var number = _last + 1;
            if (Update.Read(number, message, IdOf(number)) is not { } update)
            {
                metrics.UpdateIgnored();
                if (!_saidIgnored)
                {
                    _saidIgnored = true;
                    LogIgnored(keys.Updates.ToString());
                }

                return;
            }

            _keptBytes += update.Frame.Length;
            while (number - _oldest >= KeptUpdates || (_keptBytes > MaxKeptBytes && _oldest < number))
            {
                Forget();
            }

            Volatile.Write(ref _ring[number % KeptUpdates], update);

            // Before a stream may tell it: who reads after that gets no answer from before.
            if (update.Type == RedisKeys.TypeName(RowKind.Event))
            {
                Volatile.Write(ref _lastEvent, number);
            }
            else if (update.Type == RedisKeys.TypeName(RowKind.Performance))
            {
                Volatile.Write(ref _lastPerformance, number);
            }

            Volatile.Write(ref _last, number);
        }

        WakeAll();
    }

    /// <summary>Updates may have been missed: no stream goes on over that.</summary>
    public void Gap()
    {
        lock (_gate)
        {
            while (_oldest <= _last)
            {
                Forget();
            }

            // A number of its own, so that an id from before the gap is no longer the latest.
            _oldest = _last + 2;
            Volatile.Write(ref _lastGap, _last + 1);
            Volatile.Write(ref _lastEvent, _last + 1);
            Volatile.Write(ref _lastPerformance, _last + 1);
            Volatile.Write(ref _last, _last + 1);
        }

        WakeAll();
    }

    /// <summary>The update of a number; null when it is not kept any more, or there is none.</summary>
    internal Update? Find(long number) => Volatile.Read(ref _ring[number % KeptUpdates]) is { } update && update.Number == number ? update : null;

    /// <summary>Why the updates after a number are not all there; counts a client that was too slow.</summary>
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

        // The client subscribes again by itself; what was published meanwhile is gone.
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

    /// <summary>Asks for a sign of life on the connection of the subscription; without one, what streams show may be old.</summary>
    private async Task PingAsync(ISubscriber subscriber, CancellationToken stoppingToken)
    {
        var last = Last;
        try
        {
            await subscriber.PingAsync().WaitAsync(PingTimeout, Time, stoppingToken);
        }
        catch (RedisException)
        {
            // A connection that is known to be lost has made its gap.
            return;
        }
        catch (TimeoutException)
        {
            // An update is as good as a reply, and of a Redis that stands still there is nothing to miss.
            if (IsSubscribed && Last == last && await redis.AnswersAsync(stoppingToken))
            {
                if (!_isSilent)
                {
                    _isSilent = true;
                    LogSilent(PingTimeout.TotalSeconds);
                }

                // Each time: as long as nothing comes, reading is the way to know.
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
                // One at a time and in order: a plain handler is called by several threads at once, and an older value
                // could come after a newer one.
                (await subscriber.SubscribeAsync(keys.Updates)).OnMessage(message => Receive((byte[])message.Message!));
                return;
            }
            catch (Exception exception) when (Failures.IsRetryable(exception))
            {
                // What did not work is remembered: once Redis is back, its messages would pile up with nobody to read them.
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

    private void Forget()
    {
        ref var place = ref _ring[_oldest++ % KeptUpdates];
        _keptBytes -= place?.Frame.Length ?? 0;
        Volatile.Write(ref place, null);
    }

    private bool TryNumber(string? id, out long number)
    {
        number = 0;
        return id is not null && id.Split('-') is [var instance, var text] && instance == _instance
            && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);
    }

    [LoggerMessage(EventIds.Streaming + 1, LogLevel.Information, "Listening to updates.")]
    private partial void LogListening();

    [LoggerMessage(EventIds.Streaming + 2, LogLevel.Warning,
        "A message on {Channel} is no update, and is ignored, as are others like it (cache_updates_ignored_total). Somebody else publishes there.")]
    private partial void LogIgnored(string channel);

    [LoggerMessage(EventIds.Streaming + 3, LogLevel.Warning,
        "The subscription to updates is silent: no reply within {Seconds} s. Streams are told to read everything again until it replies.")]
    private partial void LogSilent(double seconds);
}
