namespace Cache.Service.Consume;

/// <summary>
/// Ends handles of the client library. Its destroy can hang for good, and then takes the thread with it: so that never is a
/// thread that somebody waits for.
/// </summary>
internal static class KafkaHandle
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    /// <summary>Ends a handle; when that takes too long, it is left to end by itself.</summary>
    public static async Task EndAsync(IDisposable handle)
    {
        var ended = Task.Factory.StartNew(handle.Dispose, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await Task.WhenAny(ended, Task.Delay(Timeout, TimeProvider.System, CancellationToken.None));
    }
}
