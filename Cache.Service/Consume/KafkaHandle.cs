namespace Cache.Service.Consume;

/// <summary>
/// Disposes handles of the client library. Destroying one can hang forever and block its thread, so this never happens on a
/// thread that anybody waits for.
/// </summary>
internal static class KafkaHandle
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    /// <summary>Disposes a handle; if that takes more than 5 s, stops waiting and leaves it to finish on its own.</summary>
    public static async Task EndAsync(IDisposable handle)
    {
        var ended = Task.Factory.StartNew(handle.Dispose, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await Task.WhenAny(ended, Task.Delay(Timeout, TimeProvider.System, CancellationToken.None));
    }
}
