using System.Text;
using Cache.Metrics;
using Cache.Service.Model;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Decode;

/// <summary>What a decoder keeps. Not beside other tests, whose memory would be measured with it.</summary>
[Collection(Alone)]
[Trait("Category", "Long")]
public sealed class DecoderMemoryTests
{
    internal const string Alone = "measures the memory of the process";

    private const long Now = 1735689600000;

    [Fact]
    public void Dimensions_AreKeptUpToABound_HoweverManyThereAre()
    {
        var decoder = Decoders.New(new FakeTimeProvider(DateTimeOffset.FromUnixTimeMilliseconds(Now)));
        var before = GC.GetTotalMemory(forceFullCollection: true);
        for (var number = 0; number < 350_000; number++)
        {
            Assert.Equal(RejectReason.None, decoder.Decode(MetricType.Performance, Encoding.UTF8.GetBytes($$"""{"window_start":1735689600000,"device_category":"{{number:D128}}","avg_load_time":1}""")).Reason);
            Assert.Equal(RejectReason.None, decoder.Decode("session_metrics", Encoding.UTF8.GetBytes($$"""{"session_id":"{{number:D128}}","end_time":1735689600000,"device_category":"x{{number}}"}""")).Reason);
        }

        // 100,000 of the longest names, each as UTF-8, as a string and in two field names: about 800 bytes.
        var kept = GC.GetTotalMemory(forceFullCollection: true) - before;
        Assert.InRange(kept, 0, 100_000_000);
        GC.KeepAlive(decoder);
    }
}

/// <summary>Tests that run while no other does.</summary>
[CollectionDefinition(DecoderMemoryTests.Alone, DisableParallelization = true)]
public sealed class AloneCollection;
