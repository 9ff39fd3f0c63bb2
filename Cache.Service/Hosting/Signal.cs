namespace Cache.Service.Hosting;

/// <summary>Tells any number of waiters that something has changed.</summary>
internal sealed class Signal
{
    private TaskCompletionSource _next = Create();

    /// <summary>Completes at the next change. Take it before looking at what may change, so that no change in between is missed.</summary>
    public Task Next => Volatile.Read(ref _next).Task;

    /// <summary>Wakes all who wait, on the thread pool.</summary>
    public void Raise() => Interlocked.Exchange(ref _next, Create()).TrySetResult();

    private static TaskCompletionSource Create() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
