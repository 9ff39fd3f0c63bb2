namespace Cache.Tests.EndToEnd;

public sealed class MeanwhileTests
{
    [Fact]
    public async Task Stop_ReturnsTheResultOfTheWork()
    {
        await using var work = Meanwhile.Start(UntilStoppedAsync);
        Assert.False(work.Completion.IsCompleted);
        Assert.Equal(7, await work.StopAsync());
        Assert.Equal(7, await work.StopAsync());
    }

    [Fact]
    public async Task Dispose_WaitsUntilTheWorkHasEnded()
    {
        var work = Meanwhile.Start(UntilStoppedAsync);
        await work.DisposeAsync();
        Assert.True(work.Completion.IsCompletedSuccessfully);
    }

    [Fact]
    public async Task Failure_IsReportedByStop_AndDoesNotHideAnotherAtTheEnd()
    {
        var work = Meanwhile.Start(_ => Task.FromException(new InvalidDataException("no more")));
        await Assert.ThrowsAsync<InvalidDataException>(() => work.StopAsync());
        await work.DisposeAsync();
    }

    private static async Task<int> UntilStoppedAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            await Task.Yield();
        }

        return 7;
    }
}
