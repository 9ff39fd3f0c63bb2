using System.Diagnostics.Metrics;
using Cache.Service.Consume;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;

namespace Cache.Tests.Consume;

public sealed class ConsumeMetricsTests
{
    [Fact]
    public void Spare_IsWhomTheGroupHasNoPartitionFor()
    {
        using var services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var meters = services.GetRequiredService<IMeterFactory>();
        var assignment = new Assignment();
        _ = new ConsumeMetrics(meters, assignment, TimeProvider.System);

        // Before the first rebalance, nobody knows.
        Assert.Equal(0, Spare(meters));
        assignment.IsSpare = true;
        Assert.Equal(1, Spare(meters));
        assignment.Assign(new AssignedPartition(new TopicPartition("t", 0), new RowCounter()));
        Assert.Equal(0, Spare(meters));
    }

    private static int Spare(IMeterFactory meters)
    {
        var spare = -1;
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, listener) =>
        {
            if (ReferenceEquals(instrument.Meter.Scope, meters) && instrument.Name == "cache.spare")
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<int>((_, value, _, _) => spare = value);
        listener.Start();
        listener.RecordObservableInstruments();
        return spare;
    }
}
