using Cache.Service.Consume;
using Confluent.Kafka;

namespace Cache.Service.Persist;

/// <summary>
/// The producer of dead letters. Some errors, such as a missing permission, are fatal to an idempotent producer. It is then
/// recreated, so that it works as soon as the cause is fixed. Used only by the flush worker.
/// </summary>
/// <param name="create">Creates a producer that reports its errors to the callback.</param>
internal sealed class DeadLetterProducer(Func<Action<Error>, IProducer<byte[]?, byte[]?>> create) : IDisposable
{
    private Instance? _instance;

    /// <summary>Gets the producer, and recreates it after a <see cref="Fatal"/> error.</summary>
    public IProducer<byte[]?, byte[]?> Get()
    {
        if (_instance is { Fatal: not null } failed)
        {
            _instance = null;
            _ = KafkaHandle.EndAsync(failed.Client);
        }

        return (_instance ??= new(create)).Client;
    }

    /// <summary>The fatal error of the producer; null while it works.</summary>
    public Error? Fatal => _instance?.Fatal;

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_instance is { } instance)
        {
            _instance = null;
            KafkaHandle.EndAsync(instance.Client).Wait();
        }
    }

    private sealed class Instance
    {
        private Error? _fatal;

        public Instance(Func<Action<Error>, IProducer<byte[]?, byte[]?>> create) => Client = create(OnError);

        public IProducer<byte[]?, byte[]?> Client { get; }

        public Error? Fatal => Volatile.Read(ref _fatal);

        // Called on a thread of the client.
        private void OnError(Error error)
        {
            if (error.IsFatal)
            {
                Interlocked.CompareExchange(ref _fatal, error, null);
            }
        }
    }
}
