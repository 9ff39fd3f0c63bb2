namespace Cache.Service.Hosting;

/// <summary>
/// Stops the service when a worker fails for good: a host whose background service has failed ends its run normally, and
/// nobody would restart it.
/// </summary>
internal sealed class FatalError(IHostApplicationLifetime lifetime)
{
    private Exception? _exception;

    /// <summary>0, or 1 once a worker has failed.</summary>
    public int ExitCode => Volatile.Read(ref _exception) is null ? 0 : 1;

    /// <summary>Stops the host, to end with exit code 1.</summary>
    public void Stop(Exception exception)
    {
        Interlocked.CompareExchange(ref _exception, exception, null);
        lifetime.StopApplication();
    }
}
