using Confluent.Kafka;

namespace Cache.Tests.ServiceDefaults.Portable;

/// <summary>The client library's own mock cluster: one broker on a loopback port, gone when disposed.</summary>
internal sealed class MockKafka : IDisposable
{
    private readonly IProducer<Null, Null> _owner = new ProducerBuilder<Null, Null>(
        new Dictionary<string, string> { ["test.mock.num.brokers"] = "1" }).Build();

    public MockKafka()
    {
        using var admin = new DependentAdminClientBuilder(_owner.Handle).Build();
        var broker = admin.GetMetadata(TimeSpan.FromSeconds(10)).Brokers[0];
        Address = $"{broker.Host}:{broker.Port}";
    }

    public string Address { get; }

    public void Dispose() => _owner.Dispose();
}
