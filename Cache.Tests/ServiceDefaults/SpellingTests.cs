using Microsoft.Extensions.Hosting;

namespace Cache.Tests.ServiceDefaults;

public sealed class SpellingTests
{
    private static readonly string[] Known = ["redis_host", "redis_port", "health_port", "window_retention_count", "window_hash_ttl_seconds", "rate_limit_burst"];

    [Theory]
    [InlineData("redis_prot", "; did you mean redis_port?")]
    [InlineData("REDIS-HOST", "; did you mean redis_host?")]
    [InlineData("port", "; did you mean health_port or redis_port?")]
    [InlineData("ports", "; did you mean health_port or redis_port?")]
    [InlineData("ttl", "; did you mean window_hash_ttl_seconds?")]
    [InlineData("windw_retention", "; did you mean window_retention_count?")]
    [InlineData("colour", "")]
    [InlineData("", "")]
    public void UnknownName_IsAnsweredWithTheNearest_OrThoseWithItsWords(string name, string meant) =>
        Assert.Equal(meant, Spelling.DidYouMean(name, Known));

    [Theory]
    [InlineData("", "", 0)]
    [InlineData("abc", "", 3)]
    [InlineData("kitten", "SITTING", 3)]
    public void Distance_CountsEdits(string from, string to, int distance) => Assert.Equal(distance, Spelling.Distance(from, to));
}
