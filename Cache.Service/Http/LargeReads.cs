using System.Globalization;
using Cache.Service.Options;
using Cache.Service.Telemetry;

namespace Cache.Service.Http;

/// <summary>
/// Bounds what large answers take from everybody else: the memory that they hold while they are read and sent
/// (<c>http_answers_max_mb</c>), and how many of those that are streamed are read at once.
/// </summary>
internal sealed class LargeReads(CacheOptions options, AnswerMetrics metrics) : IDisposable
{
    /// <summary>What a field takes at most while it is read and written, or nearly: a name of 134 bytes, its value, and what .NET adds.</summary>
    public const int BytesPerField = 300;

    /// <summary>What a field takes while it is sent, of an answer that is streamed: some 20 as text, in a buffer that may be twice as large.</summary>
    public const int BytesPerFieldSent = 60;

    /// <summary>An answer of fewer bytes is no large one: connections bound how many there are.</summary>
    public const int MinBytes = 64 * 1024;

    private readonly long _most = options.HttpAnswersMaxMb * 1024L * 1024;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, long> _byClient = [];

    // Half of the cores at most: the rest is for rows, probes and answers that are expected within the second.
    private readonly SemaphoreSlim _turns = new(Math.Max(1, Environment.ProcessorCount / 2));
    private long _held;

    /// <summary>Takes room for an answer, until the lease is disposed. One answer always has room, however large it is.</summary>
    /// <param name="bytes">How much it holds.</param>
    /// <param name="context">The request that it is for, whose client gets half of the room at most; null when it is for all who ask.</param>
    /// <exception cref="NoRoomException">Others hold too much.</exception>
    public Room Take(long bytes, HttpContext? context = null)
    {
        if (bytes < MinBytes)
        {
            return default;
        }

        var client = context is null ? "" : Clients.Of(context);
        lock (_gate)
        {
            var own = _byClient.GetValueOrDefault(client);
            if (_held > 0 && (_held + bytes > _most || (context is not null && own + bytes > _most / 2)))
            {
                metrics.Refused();
                throw new NoRoomException(options.HttpAnswersMaxMb);
            }

            _held += bytes;
            _byClient[client] = own + bytes;
        }

        metrics.Hold(bytes);
        return new(this, client, bytes);
    }

    /// <summary>Waits for the turn to read and write a part of an answer that is streamed; it ends when the lease is disposed.</summary>
    public async Task<Turn> TurnAsync(CancellationToken cancellationToken)
    {
        await _turns.WaitAsync(cancellationToken);
        return new(_turns);
    }

    /// <inheritdoc/>
    public void Dispose() => _turns.Dispose();

    private void Leave(string client, long bytes)
    {
        lock (_gate)
        {
            _held -= bytes;
            if ((_byClient[client] -= bytes) == 0)
            {
                _byClient.Remove(client);
            }
        }

        metrics.Hold(-bytes);
    }

    /// <summary>Room that is taken; to be disposed once.</summary>
    public readonly struct Room(LargeReads reads, string client, long bytes) : IDisposable
    {
        /// <inheritdoc/>
        public void Dispose()
        {
            if (bytes > 0)
            {
                reads.Leave(client, bytes);
            }
        }
    }

    /// <summary>A turn that has come; to be disposed once.</summary>
    public readonly struct Turn(SemaphoreSlim turns) : IDisposable
    {
        /// <inheritdoc/>
        public void Dispose() => turns.Release();
    }
}

/// <summary>Answers on their way hold as much as they may.</summary>
internal sealed class NoRoomException(int maxMb)
    : Exception(string.Create(CultureInfo.InvariantCulture, $"Answers on their way hold up to {maxMb} MB (http_answers_max_mb), half of it for one client."));

/// <summary>Redis answers, but what was asked for did not come in time.</summary>
internal sealed class SlowReadException() : Exception("Redis answers, but not with all of this in time.");
