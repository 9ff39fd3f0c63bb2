using Cache.Metrics;
using Cache.Service.Options;
using Cache.Service.Persist;

namespace Cache.Tests.Persist;

public sealed class RedisKeysTests
{
    [Theory]
    [InlineData("")]
    [InlineData("team:")]
    public void EveryKeyAndTheChannel_HaveThePrefix(string prefix)
    {
        var keys = new RedisKeys(new CacheOptions { RedisKeyPrefix = prefix });

        Assert.Equal(prefix + "metrics:event:1710000000000", keys.Window(MetricType.Event, 1710000000000));
        Assert.Equal(prefix + "metrics:perf:0", keys.Window(new(MetricType.Performance, 0)));
        Assert.Equal(prefix + "metrics:event:windows", keys.Index(MetricType.Event));
        Assert.Equal(prefix + "metrics:perf:windows", keys.Index(MetricType.Performance));
        Assert.Equal(prefix + "session:s-1", keys.Session("s-1"));
        Assert.Equal(prefix + "sessions:active", keys.Sessions);
        Assert.Equal(prefix + "cache:epoch", keys.Epoch);
        Assert.Equal(prefix + "cache:replicas", keys.Replicas);
        Assert.Equal(prefix + "cache:replica:host-1/7", keys.Replica("host-1/7"));
        Assert.Equal(prefix + "cache:updates", keys.Updates.ToString());
        Assert.False(keys.Updates.IsPattern);
    }
}
