using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Cache.Tests.ServiceDefaults.Portable;

public sealed class KafkaTelemetryTests
{
    private const string Meter = "OpenTelemetry.Instrumentation.ConfluentKafka";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task Metrics_CountWhatBothClientsMoved()
    {
        using var kafka = new MockKafka();
        var builder = Hosts.Builder(("ConnectionStrings:kafka", kafka.Address));
        builder.AddKafkaProducer<Null, string>("kafka", settings => settings.Config.StatisticsIntervalMs = 50);
        builder.AddKafkaConsumer<Null, string>("kafka", settings =>
        {
            settings.Config.StatisticsIntervalMs = 50;
            settings.Config.GroupId = "g";
            settings.Config.AutoOffsetReset = AutoOffsetReset.Earliest;
        });
        using var host = builder.Build();
        var seen = new ConcurrentDictionary<(string Instrument, string Type), long>();
        using var listener = Listen(host.Services.GetRequiredService<IMeterFactory>(), seen);

        var producer = host.Services.GetRequiredService<IProducer<Null, string>>();
        for (var i = 0; i < 7; i++)
        {
            await producer.ProduceAsync("topic", new() { Value = "value" });
        }

        var consumer = host.Services.GetRequiredService<IConsumer<Null, string>>();
        consumer.Assign([.. Enumerable.Range(0, 4).Select(p => new TopicPartitionOffset("topic", p, Offset.Beginning))]);

        using var timeout = new CancellationTokenSource(Patience);
        while (Seen("messaging.client.sent.messages", "producer") < 7
            || Seen("messaging.client.consumed.messages", "consumer") < 7)
        {
            consumer.Consume(TimeSpan.FromMilliseconds(20));
            listener.RecordObservableInstruments();
            timeout.Token.ThrowIfCancellationRequested();
        }

        Assert.Equal(7, Seen("messaging.client.sent.messages", "producer"));
        Assert.Equal(7, Seen("messaging.client.consumed.messages", "consumer"));
        Assert.True(Seen("messaging.kafka.network.transmitted", "producer") > 0);
        Assert.True(Seen("messaging.kafka.network.received", "consumer") > 0);
        Assert.True(seen.ContainsKey(("messaging.kafka.producer.queue.size", "producer")));

        long Seen(string instrument, string type) => seen.GetValueOrDefault((instrument, type));
    }

    [Fact]
    public void DisableMetrics_AsksForNoStatistics()
    {
        var builder = Hosts.Builder(("ConnectionStrings:kafka", "localhost:1"));
        ProducerConfig? off = null, on = null;
        builder.AddKafkaProducer<Null, string>("kafka", settings => (settings.DisableMetrics, off) = (true, settings.Config));
        builder.AddKafkaProducer<Null, string>("kafka", settings => on = settings.Config);

        Assert.Null(off!.StatisticsIntervalMs);
        Assert.Equal(1000, on!.StatisticsIntervalMs);
    }

    [Fact]
    public async Task Logs_OfTheClientLibrary_ReachTheLoggers()
    {
        var builder = Hosts.Builder(("ConnectionStrings:kafka", "127.0.0.1:1"));
        using var logs = new Logs();
        builder.Logging.AddProvider(logs);
        builder.AddKafkaProducer<Null, string>("kafka");
        using var host = builder.Build();
        host.Services.GetRequiredService<IProducer<Null, string>>();

        var (level, text) = await logs.First.Task.WaitAsync(Patience);
        Assert.Equal(LogLevel.Error, level);
        Assert.Contains("127.0.0.1:1", text, StringComparison.Ordinal);
    }

    private static MeterListener Listen(IMeterFactory meters, ConcurrentDictionary<(string, string), long> seen)
    {
        var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == Meter && ReferenceEquals(instrument.Meter.Scope, meters))
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
        {
            var type = tags.ToArray().Single(tag => tag.Key == "type").Value as string;
            seen[(instrument.Name, type!)] = value;
        });
        listener.Start();
        return listener;
    }

    private sealed class Logs : ILoggerProvider, ILogger
    {
        public TaskCompletionSource<(LogLevel Level, string Text)> First { get; } =
            new(TaskCreationOptions.RunContinuationsAsynchronously);

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            First.TrySetResult((logLevel, formatter(state, exception)));

        public void Dispose()
        {
        }
    }
}
