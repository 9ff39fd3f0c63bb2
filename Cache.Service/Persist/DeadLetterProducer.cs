using Cache.Service.Consume;
using Confluent.Kafka;

namespace Cache.Service.Persist;

/// <summary>
/// The producer of the dead letters. An idempotent producer does not survive some errors, such as a right that it lacks: then it
/// is made anew, so that it works once that is mended. Used by the flush worker alone.
/// </summary>
/// <param name="make">Makes a producer that tells its errors.</param>
internal sealed class DeadLetterProducer(Func<Action<Error>, IProducer<byte[]?, byte[]?>> make) : IDisposable
{
    private Life? _life;

    /// <summary>The producer; another one after <see cref="Fatal"/>.</summary>
    public IProducer<byte[]?, byte[]?> Get()
    {
        if (_life is { Fatal: not null } over)
        {
            _life = null;
            _ = KafkaHandle.EndAsync(over.Client);
        }

        return (_life ??= new(make)).Client;
    }

    /// <summary>The error that the producer does not survive; null as long as it works.</summary>
    public Error? Fatal => _life?.Fatal;

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_life is { } life)
        {
            _life = null;
            KafkaHandle.EndAsync(life.Client).Wait();
        }
    }

    private sealed class Life
    {
        private Error? _fatal;

        public Life(Func<Action<Error>, IProducer<byte[]?, byte[]?>> make) => Client = make(Note);

        public IProducer<byte[]?, byte[]?> Client { get; }

        public Error? Fatal => Volatile.Read(ref _fatal);

        // On a thread of the client.
        private void Note(Error error)
        {
            if (error.IsFatal)
            {
                Interlocked.CompareExchange(ref _fatal, error, null);
            }
        }
    }
}
