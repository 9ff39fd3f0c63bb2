using System.Text;
using Cache.Service.Http.Fleet;

namespace Cache.Tests.Http.Fleet;

public sealed class PublishedReplicaTests(ITestOutputHelper output)
{
    private const string Good =
        """{"version":"1","started":1,"seen":2,"ready":true,"reasons":[],"rows_per_second":1.5,"partitions":[{"topic":"t","since":3,"numbers":[0,1],"lag":[{"partition":1,"rows":4,"seconds":0.5}]}],"revocation":null}""";

    /// <summary>A state with partitions of two topics, which came at two times.</summary>
    internal static ReplicaState State(int partitions, bool isBehind = false) => new(
        "host/1", "0.9.0+0123456789012345678901234567890123456789", 1_795_470_000_000, 1_795_473_130_000, true, [], 1234.5,
        [.. Enumerable.Range(0, partitions).Select(number => new ReplicaPartition(
            number < partitions / 2 ? "event_metrics" : "performance_metrics", number, isBehind ? 12_345 : 0, isBehind ? 123.456 : 0, 1_795_470_000_000 + (number % 2 * 5000)))],
        null);

    [Fact]
    public void State_IsTheSame_AfterItWasPublished()
    {
        ReplicaPartition[] partitions = [new("a", 0, 0, 0, 7), new("a", 1, 5, 0.25, 8), new("a", 2, null, null, 7), new("b", 0, 0, 1.5, 7), new("b", 7, 3, 0, 7)];
        var state = State(0) with { Ready = false, Reasons = ["Redis \"does\"\nnot answer", ""], Partitions = partitions, Revocation = new([new("a", 1)], 9, "commit") };

        var published = PublishedReplica.Decode(PublishedReplica.Encode(state))!.StateOf(state.Id);

        Assert.Equivalent(state, published, strict: true);
        Assert.Equal(partitions, published.Partitions);
    }

    [Theory]
    [InlineData(1000, false, 6_000)]
    [InlineData(1000, true, 60_000)]
    public void ManyPartitions_TakeFewBytes(int partitions, bool areBehind, int most)
    {
        var length = PublishedReplica.Encode(State(partitions, areBehind)).Length;

        output.WriteLine($"{length} bytes");
        Assert.InRange(length, 1, most);
    }

    [Fact]
    public void WhatANewerReplicaAdds_IsIgnored() =>
        Assert.NotNull(PublishedReplica.Decode(Encoding.UTF8.GetBytes(Good.Replace("\"version\"", "\"new\":{\"a\":[1]},\"version\"", StringComparison.Ordinal))));

    [Theory]
    [InlineData("")]
    [InlineData("PING")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("{\"partitions\":[]}")]
    [InlineData(Good + "x")]
    public void WhatIsNoState_IsNone(string value) => Assert.Null(PublishedReplica.Decode(Encoding.UTF8.GetBytes(value)));

    [Theory]
    [InlineData("\"version\":\"1\"", "\"version\":null")]
    [InlineData("\"version\":\"1\"", "\"version\":\"\\ud800\"")]
    [InlineData("\"version\":\"1\",", "")]
    [InlineData("\"started\":1", "\"started\":1e400")]
    [InlineData("\"started\":1", "\"started\":99999999999999999999")]
    [InlineData("\"ready\":true", "\"ready\":1")]
    [InlineData("\"reasons\":[]", "\"reasons\":[null]")]
    [InlineData("\"reasons\":[]", "\"reasons\":{}")]
    [InlineData("1.5", "1e999")]
    [InlineData("1.5", "\"NaN\"")]
    [InlineData("[0,1]", "null")]
    [InlineData("[0,1]", "[0,1e3.5]")]
    [InlineData("[0,1]", "[0,99999999999]")]
    [InlineData("\"topic\":\"t\"", "\"topic\":null")]
    [InlineData("\"seconds\":0.5", "\"seconds\":-1e999")]
    [InlineData("[{\"partition\":1,\"rows\":4,\"seconds\":0.5}]", "[null]")]
    [InlineData("[{\"topic\":\"t\",\"since\":3", "[null,{\"topic\":\"t\",\"since\":3")]
    [InlineData("\"revocation\":null", "\"revocation\":{\"partitions\":[],\"since\":1,\"waits_for\":\"<b>\"}")]
    [InlineData("\"revocation\":null", "\"revocation\":{\"partitions\":[null],\"since\":1,\"waits_for\":\"flush\"}")]
    [InlineData("\"revocation\":null", "\"revocation\":{\"partitions\":[{\"topic\":null,\"partition\":1}],\"since\":1,\"waits_for\":\"flush\"}")]
    public void AnyPartThatNoReplicaPublishes_MakesItNone(string part, string other)
    {
        Assert.Contains(part, Good);
        Assert.NotNull(PublishedReplica.Decode(Encoding.UTF8.GetBytes(Good)));

        Assert.Null(PublishedReplica.Decode(Encoding.UTF8.GetBytes(Good.Replace(part, other, StringComparison.Ordinal))));
    }

    [Fact]
    public void BytesThatAreNotText_AreNone() => Assert.Null(PublishedReplica.Decode([.. Encoding.UTF8.GetBytes(Good[..12]), 0xff, .. Encoding.UTF8.GetBytes(Good[12..])]));
}
