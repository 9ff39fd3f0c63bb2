using System.Diagnostics.Metrics;
using Cache.Service.Http;
using Cache.Service.Http.Streaming;
using Cache.Service.Options;
using Cache.Tests.Flush;
using Microsoft.Extensions.DependencyInjection;

namespace Cache.Tests.Http.Streaming;

public sealed class UnsentBytesTests : IDisposable
{
    private const int Mb = 1024 * 1024;

    private readonly List<string> _cut = [];
    private readonly UnsentBytes _unsent;
    private readonly Counters _counters;

    public UnsentBytesTests()
    {
        var options = new CacheOptions { StreamUnsentMaxMb = 10 };
        var meters = new ServiceCollection().AddMetrics().BuildServiceProvider().GetRequiredService<IMeterFactory>();
        _unsent = new(options, new StreamMetrics(meters));
        _counters = new(meters);
    }

    public void Dispose() => _counters.Dispose();

    [Fact]
    public void Event_CountsOnce_HoweverManyStreamsSendIt()
    {
        var whole = new byte[5 * Mb];
        foreach (var stream in Enumerable.Range(0, 20))
        {
            _unsent.Add(Stream($"{stream}"), whole.AsMemory(stream * 1000));
        }

        Assert.Empty(_cut);
        _unsent.Add(Stream("other"), new byte[5 * Mb]);
        Assert.Equal(["0", "1", "2"], _cut.Take(3));
    }

    [Fact]
    public void AboveTheLimit_StreamsAreCutOff_LongestWaitFirst()
    {
        var (first, second, third) = (Stream("first"), Stream("second"), Stream("third"));
        _unsent.Add(first, new byte[4 * Mb]);
        _unsent.Add(second, new byte[4 * Mb]);

        // The first one has made progress in the meantime, and waits again.
        _unsent.Remove(first);
        _unsent.Add(first, new byte[4 * Mb]);
        Assert.Empty(_cut);

        _unsent.Add(third, new byte[4 * Mb]);
        Assert.Equal(["second"], _cut);

        // Streams that were cut off stop waiting only later.
        _unsent.Remove(second);
        _unsent.Remove(first);
        _unsent.Remove(third);
        _unsent.Add(second, new byte[9 * Mb]);
        Assert.Equal(["second"], _cut);
    }

    [Fact]
    public void WhatIsHeld_AndWhatIsCutOff_IsCounted()
    {
        const long Connection = UnsentBytes.BytesPerConnection;
        var (first, second) = (Stream("first"), Stream("second"));
        _unsent.Add(first, new byte[6 * Mb]);
        Assert.Equal((Connection + (6 * Mb), 0), Counted());

        _unsent.Add(second, new byte[5 * Mb]);
        Assert.Equal((Connection + (5 * Mb), 1), Counted());

        // An event that was given up counts again.
        _unsent.Remove(second);
        Assert.Equal((0, 1), Counted());
        var whole = new byte[(10 * Mb) - Connection];
        _unsent.Add(first, whole);
        _unsent.Remove(first);
        _unsent.Add(second, whole);
        Assert.Equal((10 * Mb, 1), Counted());

        (long Held, long Cut) Counted() => (_counters["cache.stream.held"], _counters["cache.stream.cuts[no_room]"]);
    }

    [Fact]
    public void StreamsBetweenEvents_HoldTheirConnectionBuffers()
    {
        var most = 10 * Mb / UnsentBytes.BytesPerConnection;
        for (var stream = 0; stream < most + 3; stream++)
        {
            _unsent.Add(Stream($"{stream}"), default);
        }

        Assert.Equal(["0", "1", "2"], _cut);
    }

    private StreamClient Stream(string name)
    {
        var client = new StreamClient(null!, "start");
        client.OnCut(() => _cut.Add(name));
        return client;
    }
}
