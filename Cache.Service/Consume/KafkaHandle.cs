using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Handles of the client library. Destroying one during a call crashes the process, so a call that may outlast its owner holds it.
/// Destroying one can also hang forever and block its thread, so this never happens on a thread that anybody waits for.
/// </summary>
internal static class KafkaHandle
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    /// <summary>Keeps a client from being freed. Whoever disposes it meanwhile only closes it for further calls.</summary>
    /// <returns>What to dispose after the last call.</returns>
    /// <exception cref="ObjectDisposedException">The client is disposed.</exception>
    public static IDisposable Hold(IClient client) => new Held(Native(client));

    /// <summary>The native handle of a client; null if it has none, like a fake.</summary>
    public static SafeHandle? Native(IClient client) => client.Handle is { } handle ? (SafeHandle)LibrdkafkaHandle(handle) : null;

    /// <summary>Disposes a handle; if that takes more than 5 s, stops waiting and leaves it to finish on its own.</summary>
    public static async Task EndAsync(IDisposable handle)
    {
        var ended = Task.Factory.StartNew(handle.Dispose, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await Task.WhenAny(ended, Task.Delay(Timeout, TimeProvider.System, CancellationToken.None));
    }

    [UnsafeAccessor(UnsafeAccessorKind.Method, Name = "get_LibrdkafkaHandle")]
    [return: UnsafeAccessorType("Confluent.Kafka.Impl.SafeKafkaHandle, Confluent.Kafka")]
    private static extern object LibrdkafkaHandle(Handle handle);

    private sealed class Held : IDisposable
    {
        private SafeHandle? _handle;

        public Held(SafeHandle? handle)
        {
            var isHeld = false;
            handle?.DangerousAddRef(ref isHeld);
            _handle = handle;
        }

        public void Dispose() => Interlocked.Exchange(ref _handle, null)?.DangerousRelease();
    }
}
