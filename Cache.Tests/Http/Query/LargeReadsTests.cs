using Cache.Service.Http;
using Cache.Service.Options;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Cache.Tests.Http.Query;

public sealed class LargeReadsTests
{
    private const long Mb = 1024 * 1024;

    private readonly LargeReads _reads = new ServiceCollection().AddMetrics().AddSingleton(new CacheOptions { HttpAnswersMaxMb = 10 }).AddHttp()
        .BuildServiceProvider().GetRequiredService<LargeReads>();

    [Fact]
    public void Room_IsLimited_AndReleased()
    {
        var first = _reads.Take(6 * Mb);
        var second = _reads.Take(4 * Mb);
        Assert.Throws<NoRoomException>(() => _reads.Take(Mb));

        first.Dispose();
        using var third = _reads.Take(6 * Mb);
        Assert.Throws<NoRoomException>(() => _reads.Take(Mb));
        second.Dispose();
    }

    [Fact]
    public void OneAnswer_AlwaysHasRoom()
    {
        using (_reads.Take(1000 * Mb))
        {
            Assert.Throws<NoRoomException>(() => _reads.Take(Mb));
        }

        using var other = _reads.Take(1000 * Mb, From("10.0.0.1"));
    }

    [Fact]
    public void OneClient_GetsHalfOfTheRoom()
    {
        var first = _reads.Take(5 * Mb, From("10.0.0.1"));
        Assert.Throws<NoRoomException>(() => _reads.Take(Mb, From("10.0.0.1")));
        using var other = _reads.Take(4 * Mb, From("10.0.0.2"));
        using var all = _reads.Take(Mb);

        first.Dispose();
        using var again = _reads.Take(5 * Mb, From("10.0.0.1"));
    }

    [Fact]
    public void SmallAnswers_AreNotCounted()
    {
        using var large = _reads.Take(10 * Mb);
        for (var answer = 0; answer < 1000; answer++)
        {
            _reads.Take(LargeReads.MinBytes - 1, From("10.0.0.1"));
        }
    }

    [Fact]
    public async Task StreamedAnswers_AreReadInTurns()
    {
        var cancellationToken = TestContext.Current.CancellationToken;
        var turns = new List<LargeReads.Turn>();
        for (var turn = 0; turn < Math.Max(1, Environment.ProcessorCount / 2); turn++)
        {
            turns.Add(await _reads.TurnAsync(cancellationToken));
        }

        var next = _reads.TurnAsync(cancellationToken);
        Assert.False(next.IsCompleted);
        using var timeout = new CancellationTokenSource(TimeSpan.FromMilliseconds(20));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _reads.TurnAsync(timeout.Token));

        turns[0].Dispose();
        using var last = await next;
    }

    private static DefaultHttpContext From(string address) => new() { Connection = { RemoteIpAddress = System.Net.IPAddress.Parse(address) } };
}
