using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Threading.Channels;
using Cache.Service.Persist;
using Cache.Service.Telemetry;
using StackExchange.Redis;

namespace Cache.Service.Streaming;

/// <summary>One touched window or session, as <c>cache:updates</c> told it.</summary>
/// <param name="Number">Counts up from 1 in this process; the gapless part of the event id.</param>
/// <param name="Type"><c>event</c>, <c>performance</c> or <c>session</c>.</param>
/// <param name="Fields">The names of its fields.</param>
/// <param name="Json">The message as it came.</param>
/// <param name="Device">The device category of a session, when the update tells it.</param>
internal sealed record Update(long Number, string Type, IReadOnlyList<string> Fields, string Json, string? Device = null);

/// <summary>
/// Listens to the updates of every replica and hands them to the streams. Keeps the last of them, so that a client which
/// comes back finds what it missed; where that cannot be told, the client is told to read everything again.
/// </summary>
internal sealed partial class UpdateHub(RedisLink redis, RedisKeys keys, CacheMetrics metrics, TimeProvider time, ILogger<UpdateHub> logger)
    : BackgroundService
{
    /// <summary>Updates that are kept for clients that come back: some seconds' worth under load, minutes otherwise.</summary>
    public const int ReplayedUpdates = 2048;

    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);

    // Tells this process's ids from those of another replica, or of its own last life.
    private readonly string _instance = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4));
    private readonly Lock _gate = new();
    private readonly Queue<Update> _replay = new(ReplayedUpdates);
    private readonly HashSet<StreamClient> _clients = [];
    private long _last;

    /// <summary>Streams that are open.</summary>
    public int Clients
    {
        get
        {
            lock (_gate)
            {
                return _clients.Count;
            }
        }
    }

    /// <summary>The event id of an update.</summary>
    public string IdOf(long number) => string.Create(CultureInfo.InvariantCulture, $"{_instance}-{number}");

    /// <summary>Opens a stream.</summary>
    /// <param name="lastEventId">What the client saw last; null for a client that is new.</param>
    public StreamClient Open(string? lastEventId)
    {
        lock (_gate)
        {
            var client = new StreamClient(_last);
            if (TryNumber(lastEventId, out var seen) && seen <= _last && (seen == _last || _replay.TryPeek(out var oldest) && oldest.Number <= seen + 1))
            {
                foreach (var update in _replay.Where(update => update.Number > seen))
                {
                    client.Offer(update);
                }
            }
            else
            {
                client.Resync(lastEventId is null ? "start" : "gap", _last);
            }

            _clients.Add(client);
            return client;
        }
    }

    /// <summary>Closes a stream.</summary>
    public void Close(StreamClient client)
    {
        lock (_gate)
        {
            _clients.Remove(client);
        }
    }

    /// <summary>Hands a message on; what is no update is ignored.</summary>
    public void Receive(string message)
    {
        if (Read(message) is not var (type, fields, device))
        {
            return;
        }

        lock (_gate)
        {
            var update = new Update(++_last, type, fields, message, device);
            if (_replay.Count == ReplayedUpdates)
            {
                _replay.Dequeue();
            }

            _replay.Enqueue(update);
            foreach (var client in _clients)
            {
                if (!client.Offer(update))
                {
                    metrics.StreamDropped();
                }
            }
        }
    }

    /// <summary>Updates may have been missed: nobody can be replayed over the gap.</summary>
    public void Gap()
    {
        lock (_gate)
        {
            // A number of its own, so that an id from before the gap is no longer the latest.
            _last++;
            _replay.Clear();
            foreach (var client in _clients)
            {
                client.Resync("gap", _last);
            }
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            var multiplexer = (await redis.GetAsync(stoppingToken)).Multiplexer;
            var subscriber = multiplexer.GetSubscriber();
            while (true)
            {
                try
                {
                    await subscriber.SubscribeAsync(keys.Updates, (_, message) => Receive(message.ToString()));
                    break;
                }
                catch (RedisException)
                {
                    await Task.Delay(RetryInterval, time, stoppingToken);
                }
            }

            // The client subscribes again by itself; what was published meanwhile is gone.
            multiplexer.ConnectionFailed += (_, _) => Gap();
            multiplexer.ConnectionRestored += (_, _) => Gap();
            LogListening();
            await Task.Delay(Timeout.InfiniteTimeSpan, time, stoppingToken);
        }
        catch (OperationCanceledException)
        {
            // The service stops.
        }
    }

    private bool TryNumber(string? id, out long number)
    {
        number = 0;
        return id is not null && id.Split('-') is [var instance, var text] && instance == _instance
            && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);
    }

    private static (string Type, IReadOnlyList<string> Fields, string? Device)? Read(string message)
    {
        try
        {
            using var json = JsonDocument.Parse(message);
            var type = json.RootElement.GetProperty("type").GetString()!;
            var fields = json.RootElement.GetProperty("fields");
            return (type, [.. fields.EnumerateObject().Select(field => field.Name)],
                type == "session" && fields.TryGetProperty(SessionStore.Device, out var device) ? device.GetString() : null);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            // Somebody else's message.
            return null;
        }
    }

    [LoggerMessage(EventIds.Streaming + 1, LogLevel.Information, "Listening to updates.")]
    private partial void LogListening();
}

/// <summary>One open stream: the updates that wait for it, bounded.</summary>
/// <param name="openedAt">The number of the last update when it was opened.</param>
internal sealed class StreamClient(long openedAt)
{
    /// <summary>Updates that wait for a client at most; one that is further behind is told to read everything again.</summary>
    public const int MostWaiting = 256;

    // A replay may be larger than what may pile up later.
    private readonly Channel<Update> _updates = Channel.CreateBounded<Update>(
        new BoundedChannelOptions(UpdateHub.ReplayedUpdates) { SingleReader = true });
    private Task<bool>? _waiting;
    private string? _resync;
    private long _last;

    /// <summary>Adds an update; false when the client is too far behind for it.</summary>
    public bool Offer(Update update)
    {
        if (Volatile.Read(ref _resync) is not null)
        {
            // Reads everything again anyway, from a moment after this update.
            Volatile.Write(ref _last, update.Number);
            return true;
        }

        if (_updates.Reader.Count < MostWaiting || update.Number <= openedAt)
        {
            return _updates.Writer.TryWrite(update);
        }

        Resync("slow", update.Number);
        return false;
    }

    /// <summary>The client has to read everything again.</summary>
    public void Resync(string reason, long number)
    {
        Volatile.Write(ref _last, number);
        Volatile.Write(ref _resync, reason);
        _updates.Writer.TryWrite(null!);
    }

    /// <summary>Waits for something to send; false when the time is over.</summary>
    public async Task<bool> WaitAsync(TimeSpan patience, TimeProvider time, CancellationToken cancellationToken)
    {
        if (Volatile.Read(ref _resync) is not null || _updates.Reader.Count > 0)
        {
            return true;
        }

        try
        {
            // Kept over a timeout: each wait that is left behind would stay with the channel.
            _waiting ??= _updates.Reader.WaitToReadAsync(CancellationToken.None).AsTask();
            await _waiting.WaitAsync(patience, time, cancellationToken);
            _waiting = null;
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    /// <summary>Takes a pending order to read everything again, with the number it stands for; drops what waited.</summary>
    public bool TryTakeResync(out string reason, out long number)
    {
        reason = Volatile.Read(ref _resync) ?? "";
        number = 0;
        if (reason.Length == 0)
        {
            return false;
        }

        while (_updates.Reader.TryRead(out _))
        {
        }

        number = Volatile.Read(ref _last);
        Volatile.Write(ref _resync, null);
        return true;
    }

    /// <summary>Takes the next update.</summary>
    public bool TryTake(out Update update)
    {
        while (_updates.Reader.TryRead(out update!))
        {
            if (update is not null)
            {
                return true;
            }
        }

        return false;
    }
}
