using System.Globalization;
using Cache.Service.Options;

namespace Cache.Service.Http;

/// <summary>
/// Bounds what large answers cost everyone else: the memory they hold while they are read and sent
/// (<c>http_answers_max_mb</c>), and the number of streamed answers that are read at the same time.
/// </summary>
internal sealed class LargeReads(CacheOptions options, AnswerMetrics metrics) : IDisposable
{
    /// <summary>Estimated maximum per field while it is read and written: a name of 134 bytes, the value, and .NET's overhead.</summary>
    public const int BytesPerField = 300;

    /// <summary>Estimate per field of a streamed answer while it is sent: about 20 as text, in a buffer that may be twice as large.</summary>
    public const int BytesPerFieldSent = 60;

    /// <summary>Smaller answers do not count as large: the limit on connections already bounds their number.</summary>
    public const int MinBytes = 64 * 1024;

    private readonly long _max = options.HttpAnswersMaxMb * 1024L * 1024;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, long> _byClient = [];

    // At most half of the cores: the rest are for rows, probes and small answers, which are due within a second.
    private readonly SemaphoreSlim _turns = new(Math.Max(1, Environment.ProcessorCount / 2));
    private long _held;

    /// <summary>Reserves room for an answer, until the lease is disposed. A single answer always finds room, however large it is.</summary>
    /// <param name="bytes">How much the answer holds.</param>
    /// <param name="context">The request it is for, whose client gets at most half of the room; null if the answer is shared by all clients.</param>
    /// <exception cref="NoRoomException">Other answers hold too much.</exception>
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
            if (_held > 0 && (_held + bytes > _max || (context is not null && own + bytes > _max / 2)))
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

    /// <summary>Waits for a turn to read and write a part of a streamed answer. The turn ends when the lease is disposed.</summary>
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

    /// <summary>Reserved room; dispose it once.</summary>
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

    /// <summary>A turn; dispose it once.</summary>
    public readonly struct Turn(SemaphoreSlim turns) : IDisposable
    {
        /// <inheritdoc/>
        public void Dispose() => turns.Release();
    }
}

/// <summary>Answers in progress hold the maximum of memory.</summary>
internal sealed class NoRoomException(int maxMb)
    : Exception(string.Create(CultureInfo.InvariantCulture, $"Answers in progress may hold {maxMb} MB in total (http_answers_max_mb), and half of that per client."));

/// <summary>Redis answers, but did not deliver the whole answer in time.</summary>
internal sealed class SlowReadException() : Exception("Redis answers, but did not deliver all of this in time.");
