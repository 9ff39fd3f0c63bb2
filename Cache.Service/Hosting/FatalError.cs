namespace Cache.Service.Hosting;

/// <summary>
/// Stops the service with exit code 1 when a worker fails permanently. By default, the host would exit with 0, and nothing would
/// restart it.
/// </summary>
internal sealed class FatalError(IHostApplicationLifetime lifetime)
{
    private Exception? _exception;

    /// <summary>0, or 1 once a worker has failed.</summary>
    public int ExitCode => Volatile.Read(ref _exception) is null ? 0 : 1;

    /// <summary>Stops the host with exit code 1.</summary>
    public void Stop(Exception exception)
    {
        Interlocked.CompareExchange(ref _exception, exception, null);
        lifetime.StopApplication();
    }
}
