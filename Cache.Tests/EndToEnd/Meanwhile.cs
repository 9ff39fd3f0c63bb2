namespace Cache.Tests.EndToEnd;

/// <summary>
/// Work that goes on beside a test until it is told to stop, such as a load of rows. Declared with <c>await using</c> after what it
/// uses, it has ended before that is disposed, also where the test fails in the middle.
/// </summary>
internal static class Meanwhile
{
    /// <summary>Starts it.</summary>
    /// <param name="work">Ends soon after its token is cancelled. What it is about to count it finishes first.</param>
    public static Meanwhile<T> Start<T>(Func<CancellationToken, Task<T>> work) => new(work);

    /// <summary>Starts it.</summary>
    /// <param name="work">Ends soon after its token is cancelled.</param>
    public static Meanwhile<bool> Start(Func<CancellationToken, Task> work) => new(async stop =>
    {
        await work(stop);
        return true;
    });
}

/// <inheritdoc cref="Meanwhile"/>
internal sealed class Meanwhile<T> : IAsyncDisposable
{
    private readonly CancellationTokenSource _enough = new();

    public Meanwhile(Func<CancellationToken, Task<T>> work)
    {
        Requirement.Started();
        Completion = Task.Run(() => work(_enough.Token));
    }

    /// <summary>Its end, by itself or because it was stopped.</summary>
    public Task<T> Completion { get; }

    /// <summary>Stops it, and gives what it came to.</summary>
    public async Task<T> StopAsync()
    {
        await _enough.CancelAsync();
        return await Completion;
    }

    /// <summary>Stops it and waits until it has ended; why it failed is the test's to tell, by <see cref="StopAsync"/>.</summary>
    public async ValueTask DisposeAsync()
    {
        await _enough.CancelAsync();
        await ((Task)Completion).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _enough.Dispose();
    }
}
