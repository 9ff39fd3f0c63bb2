using System.Text;
using Cache.Embedded;
using Cache.Service.Consume;
using Cache.Service.Options;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using Microsoft.Extensions.Configuration;

namespace Cache.Tests.Consume;

public sealed class RowReaderTests : IAsyncLifetime
{
    private static readonly TopicPartition Events = new(Rows.Events, 1);

    private EmbeddedKafka _broker = null!;
    private KafkaSide _kafka = null!;
    private RowReader _reader = null!;

    public async ValueTask InitializeAsync()
    {
        _broker = await EmbeddedKafka.StartAsync(brokers: 1);
        _broker.CreateTopic(Rows.Events, partitions: 2);
        _kafka = new(_broker.BootstrapServers, "cache-tests");
        await _kafka.SendAsync(Rows.Events, 1, Enumerable.Range(0, 10).Select(number => Rows.Message($"row {number}", $"key {number}")));
        _reader = new(CacheOptionsReader.Read(new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["ConnectionStrings:kafka"] = _broker.BootstrapServers,
            ["Kafka:fetch.wait.max.ms"] = "5",
        }).Build()));
    }

    public async ValueTask DisposeAsync()
    {
        _kafka.Dispose();
        await _broker.DisposeAsync();
    }

    [Theory]
    [InlineData(0, 10)]
    [InlineData(3, 7)]
    [InlineData(9, 10)]
    public void Rows_AreThoseFromOneOffsetUpToAnother_AsTheyCame(int from, int to)
    {
        var rows = _reader.Read(Events, from, to);

        Assert.Equal(Enumerable.Range(from, to - from).Select(number => (number, $"key {number}", $"row {number}")),
            rows.Select(row => ((int)row.Offset.Value, Encoding.UTF8.GetString(row.Message.Key!), Encoding.UTF8.GetString(row.Message.Value!))));
    }

    [Fact]
    public void RowsThatHaveNotArrived_AreNotAwaited() =>
        Assert.Equal([8, 9], _reader.Read(Events, 8, 20).Select(row => row.Offset.Value));

    [Fact]
    public void RowsThatKafkaNoLongerHas_AreLeftOut()
    {
        _broker.DeleteRecords(Rows.Events, 1, 5);

        Assert.Equal([5], _reader.Read(Events, 2, 6).Select(row => row.Offset.Value));
        Assert.Empty(_reader.Read(Events, 2, 4));
    }

    [Fact]
    public void Reading_CommitsNothing()
    {
        Assert.Equal(10, _reader.Read(Events, 0, 10).Count);
        Assert.Equal([Offset.Unset.Value, Offset.Unset.Value], _kafka.Committed(Rows.Events));
    }
}
