namespace Cache.Tests.EndToEnd;

/// <summary>
/// Background work beside a test, such as a load of rows, until it is stopped. Declared with <c>await using</c> after the things
/// it uses, it ends before they are disposed, even if the test fails halfway.
/// </summary>
internal static class Meanwhile
{
    /// <summary>Starts the work.</summary>
    /// <param name="work">Ends soon after its token is cancelled, but first finishes anything that it is about to count.</param>
    public static Meanwhile<T> Start<T>(Func<CancellationToken, Task<T>> work) => new(work);

    /// <summary>Starts the work.</summary>
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

    /// <summary>Completes when the work ends, on its own or because it was stopped.</summary>
    public Task<T> Completion { get; }

    /// <summary>Stops the work, and returns its result.</summary>
    public async Task<T> StopAsync()
    {
        await _enough.CancelAsync();
        return await Completion;
    }

    /// <summary>Stops the work and waits for its end. Ignores its failure, which is for <see cref="StopAsync"/> to throw.</summary>
    public async ValueTask DisposeAsync()
    {
        await _enough.CancelAsync();
        await ((Task)Completion).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _enough.Dispose();
    }
}
