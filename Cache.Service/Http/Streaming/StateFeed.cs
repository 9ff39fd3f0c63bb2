using System.Text;
using Cache.Service.Hosting;
using Cache.Service.Http.Fleet;
using Cache.Service.Http.Query;
using Cache.Service.Partitions;

namespace Cache.Service.Http.Streaming;

/// <summary>
/// The events <c>pipeline</c> and <c>fleet</c> of the streams that asked for them: the answers of the routes of these names,
/// every few seconds, and soon after partitions or readiness of this replica changed. Each is built once for all streams, and
/// only while there are any. Only the newest is kept, so a slow client skips those before.
/// </summary>
internal sealed class StateFeed : Worker
{
    // A rebalance changes several things in a row.
    private static readonly TimeSpan MinInterval = TimeSpan.FromSeconds(0.25);

    private readonly ReadinessMonitor _readiness;
    private readonly Assignment _assignment;
    private readonly Signal _opened = new();
    private readonly Lock _gate = new();
    private volatile StreamClient[] _clients = [];

    public StateFeed(
        PipelineReader pipeline, FleetReader fleet, ReadinessMonitor readiness, Assignment assignment, TimeProvider time, FatalError fatal, ILogger<StateFeed> logger)
        : base(fatal, time, logger)
    {
        (_readiness, _assignment) = (readiness, assignment);
        Events = [new("pipeline", TimeSpan.FromSeconds(2), () => Task.FromResult(pipeline.Json())), new("fleet", TimeSpan.FromSeconds(5), fleet.JsonAsync)];
    }

    /// <summary>The events.</summary>
    public IReadOnlyList<StateEvent> Events { get; }

    /// <summary>Adds the state to a stream.</summary>
    public StateView Open(StreamClient client)
    {
        lock (_gate)
        {
            _clients = [.. _clients, client];
        }

        _opened.Raise();
        return new(Events);
    }

    /// <summary>Removes a closed stream; it need not have been added.</summary>
    public void Close(StreamClient client)
    {
        lock (_gate)
        {
            _clients = Array.FindAll(_clients, other => other != client);
        }
    }

    /// <inheritdoc/>
    protected internal override Task RunAsync(CancellationToken stoppingToken) => Task.WhenAll(Events.Select(sent => KeepAsync(sent, stoppingToken)));

    private async Task KeepAsync(StateEvent sent, CancellationToken stoppingToken)
    {
        var change = Task.CompletedTask;
        while (!stoppingToken.IsCancellationRequested)
        {
            // Before looking, so that no change is missed; and only once it is used up, because signals keep who waits for them.
            var opened = _opened.Next;
            change = change.IsCompleted ? Task.WhenAny(_readiness.Changed.Next, _assignment.Changed.Next) : change;
            if (_clients.Length == 0)
            {
                sent.Clear();
                await opened.WaitAsync(stoppingToken);
                continue;
            }

            await sent.BuildAsync();
            foreach (var client in _clients)
            {
                client.Wake();
            }

            await Task.Delay(MinInterval, Time, stoppingToken);
            await Task.WhenAny(change, Task.Delay(sent.Interval - MinInterval, Time, stoppingToken));
        }
    }
}

/// <summary>An event with the state of this replica, or of all of them. It has no id: a client resumes after updates, not after states.</summary>
/// <param name="name">The name of the event.</param>
/// <param name="interval">How often it is sent.</param>
/// <param name="json">Builds its data, on one line.</param>
internal sealed class StateEvent(string name, TimeSpan interval, Func<Task<byte[]>> json)
{
    private readonly byte[] _beforeData = Encoding.ASCII.GetBytes($"event: {name}\ndata: ");
    private byte[]? _newest;

    /// <summary>How often it is sent.</summary>
    public TimeSpan Interval => interval;

    /// <summary>The newest; null before the first, and while nobody wants it.</summary>
    public byte[]? Newest => Volatile.Read(ref _newest);

    /// <summary>Builds the next one.</summary>
    public async Task BuildAsync() => Volatile.Write(ref _newest, [.. _beforeData, .. await json(), .. "\n\n"u8]);

    /// <summary>Forgets it: the next client must not get an old one.</summary>
    public void Clear() => Volatile.Write(ref _newest, null);
}

/// <summary>The state events of one stream.</summary>
/// <param name="events">The events.</param>
internal sealed class StateView(IReadOnlyList<StateEvent> events)
{
    private readonly byte[]?[] _sent = new byte[]?[events.Count];

    /// <summary>Takes the next event that is newer than the last one taken; returns false if there is none.</summary>
    public bool TryTake(out ReadOnlyMemory<byte> next)
    {
        for (var number = 0; number < _sent.Length; number++)
        {
            if (events[number].Newest is { } newest && newest != _sent[number])
            {
                next = _sent[number] = newest;
                return true;
            }
        }

        next = default;
        return false;
    }
}
