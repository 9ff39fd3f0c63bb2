using Cache.Service.Partitions;
using Cache.Tests.Simulation;

namespace Cache.Tests.Consume;

public sealed class MembershipTests
{
    // Its timestamps start at 0, which must count as a valid time.
    private readonly SimulatedClock _time = new();
    private readonly Membership _membership;

    public MembershipTests() => _membership = new(TimeSpan.FromSeconds(40), _time);

    [Fact]
    public void Nothing_IsProvedBeforeTheFirstCommit()
    {
        Assert.False(_membership.IsFresh);
        Assert.True(_membership.NeedsRenewal);
    }

    [Theory]
    [InlineData(0, true, false)]
    [InlineData(9.999, true, false)]
    [InlineData(10, true, true)]
    [InlineData(19.999, true, true)]
    [InlineData(20, false, true)]
    [InlineData(60, false, true)]
    public void Proof_LastsHalfASession_AndIsRenewedWhenHalfOfThatIsOver(double seconds, bool isFresh, bool needsRenewal)
    {
        _membership.Proved(_time.GetTimestamp());
        _time.AdvanceTo(TimeSpan.FromSeconds(seconds));
        Assert.Equal((isFresh, needsRenewal), (_membership.IsFresh, _membership.NeedsRenewal));
    }
}
