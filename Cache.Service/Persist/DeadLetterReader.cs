using Cache.Service.Consume;
using Cache.Service.Options;
using Confluent.Kafka;

namespace Cache.Service.Persist;

/// <summary>
/// Reads the newest dead letters from their topic when somebody asks for them. It joins no group, commits nothing and writes
/// nothing. One read at a time; what was read, or why it could not be, is kept for a second, so that any number of readers costs
/// Kafka no more than one (docs/decisions/0023).
/// </summary>
internal sealed class DeadLetterReader(CacheOptions options, TimeProvider time) : IDisposable
{
    /// <summary>How long Kafka may take; a request may have to wait as long again for the one before it.</summary>
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(4);

    /// <summary>How long an answer is kept.</summary>
    public static readonly TimeSpan Kept = TimeSpan.FromSeconds(1);

    private readonly SemaphoreSlim _turn = new(1);
    private Outcome? _kept;
    private ITimer? _forget;

    /// <summary>Finds the newest letters of a query.</summary>
    /// <exception cref="NoDeadLettersException">Kafka does not answer, or refuses.</exception>
    public async Task<LettersFound> FindAsync(LetterQuery query)
    {
        if (!await _turn.WaitAsync(Timeout))
        {
            throw new NoDeadLettersException("another read is still in progress", false);
        }

        try
        {
            return await Task.Run(() => Find(query));
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _forget?.Dispose();
        _turn.Dispose();
    }

    private LettersFound Find(LetterQuery query)
    {
        var kept = Volatile.Read(ref _kept);
        if (kept?.Failure is { } failure)
        {
            throw new NoDeadLettersException(failure.Message, failure.IsRefused);
        }

        return kept?.Tail?.TryFind(query, out var found) is true ? found : Read(kept?.Tail, query);
    }

    private LettersFound Read(DeadLetterTail? tail, LetterQuery query)
    {
        // A consumer per read, so that its handle has one user and is freed once that is done.
        Error? cause = null;
        var consumer = KafkaClients.DeadLetterConsumer(options, error => cause = error.Code == ErrorCode.Local_AllBrokersDown ? cause : error);
        var began = time.GetTimestamp();
        try
        {
            if (tail is null)
            {
                tail = DeadLetterTail.Open(consumer, options.DeadLetterTopic, Left);
                Keep(new(tail, null));
            }

            LettersFound found;
            while (!tail.TryFind(query, out found))
            {
                tail.ReadBack(consumer, query.Limit, Left);
            }

            return found;
        }
        catch (KafkaException exception)
        {
            Serve(consumer);
            var failure = new NoDeadLettersException((cause ?? exception.Error).Reason, exception.Error.Code is ErrorCode.TopicAuthorizationFailed);
            Keep(new(null, failure));
            throw failure;
        }
        finally
        {
            _ = KafkaHandle.EndAsync(consumer);
        }

        // Never negative, which would be no limit at all.
        TimeSpan Left() => TimeSpan.FromTicks(Math.Max(0, (Timeout - time.GetElapsedTime(began)).Ticks));
    }

    /// <summary>The client reports why it cannot connect only while it is polled.</summary>
    private static void Serve(IConsumer<byte[]?, byte[]?> consumer)
    {
        try
        {
            consumer.Consume(TimeSpan.FromMilliseconds(1));
        }
        catch (ConsumeException)
        {
            // The failure is known already.
        }
    }

    private void Keep(Outcome outcome)
    {
        _forget?.Dispose();
        Volatile.Write(ref _kept, outcome);
        _forget = time.CreateTimer(_ => Interlocked.CompareExchange(ref _kept, null, outcome), null, Kept, System.Threading.Timeout.InfiniteTimeSpan);
    }

    private sealed record Outcome(DeadLetterTail? Tail, NoDeadLettersException? Failure);
}

/// <summary>The dead letters could not be read.</summary>
/// <param name="reason">Why, in Kafka's words.</param>
/// <param name="isRefused">Whether a permission is missing.</param>
internal sealed class NoDeadLettersException(string reason, bool isRefused) : Exception(reason)
{
    /// <summary>Whether a permission is missing.</summary>
    public bool IsRefused => isRefused;
}
