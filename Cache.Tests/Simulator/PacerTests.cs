using Cache.Producer.Simulator;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Simulator;

public sealed class PacerTests
{
    private readonly FakeTimeProvider _time = new();

    [Theory]
    [InlineData(0.5)]
    [InlineData(20)]
    [InlineData(1_000)]
    [InlineData(50_000)]
    public async Task Next_OverTenSeconds_GivesTheRate(double rate)
    {
        var pacer = new Pacer(rate, _time);
        long given = 0;
        var next = pacer.NextAsync(CancellationToken.None).AsTask();
        for (var elapsed = 0; elapsed < 10_000; elapsed += 5)
        {
            while (next.IsCompleted)
            {
                given += await next;
                next = pacer.NextAsync(CancellationToken.None).AsTask();
            }

            _time.Advance(TimeSpan.FromMilliseconds(5));
        }

        Assert.InRange(given, (rate * 9.9) - 1, (rate * 10) + 1);
    }

    [Fact]
    public async Task Next_GivesTheFirstRowAtOnce() =>
        Assert.Equal(1, await new Pacer(0.001, _time).NextAsync(CancellationToken.None));

    [Fact]
    public async Task Next_AfterAStall_CatchesUpByOneSecondAtMost()
    {
        var pacer = new Pacer(100, _time);
        await pacer.NextAsync(CancellationToken.None);

        _time.Advance(TimeSpan.FromMilliseconds(500));
        Assert.Equal(50, await pacer.NextAsync(CancellationToken.None));

        _time.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(100, await pacer.NextAsync(CancellationToken.None));
        Assert.False(pacer.NextAsync(CancellationToken.None).AsTask().IsCompleted);
    }

    [Fact]
    public async Task Next_WithoutARate_AlwaysGivesRows_UntilCancelled()
    {
        var pacer = new Pacer(0, _time);
        Assert.True(await pacer.NextAsync(CancellationToken.None) > 0);
        Assert.True(await pacer.NextAsync(CancellationToken.None) > 0);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await pacer.NextAsync(new CancellationToken(true)));
    }
}
