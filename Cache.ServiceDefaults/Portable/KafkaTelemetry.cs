using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Text.Json;
using System.Text.Json.Serialization;
using Confluent.Kafka;
using Microsoft.Extensions.Logging;

namespace Microsoft.Extensions.Hosting;

/// <summary>Turns what the Kafka clients of a host say about themselves into log records and metrics.</summary>
internal sealed partial class KafkaTelemetry
{
    /// <summary>The name of the meter and of the activity source.</summary>
    public const string Name = "OpenTelemetry.Instrumentation.ConfluentKafka";

    private readonly ConcurrentDictionary<string, Statistics> _clients = new();
    private readonly ILogger _logger;

    public KafkaTelemetry(IMeterFactory meters, ILoggerFactory loggers)
    {
        _logger = loggers.CreateLogger("Aspire.Confluent.Kafka");

        var meter = meters.Create(Name);
        Gauge("messaging.kafka.consumer.queue.message_count", s => s.ReplyQueue, "Events that wait to be polled");
        Gauge("messaging.kafka.producer.queue.message_count", s => s.QueuedMessages, "Messages in the producer's queues");
        Gauge("messaging.kafka.producer.queue.size", s => s.QueuedBytes, "Size of the producer's queues", "By");
        Counter("messaging.kafka.network.tx", s => s.Requests, "Requests sent to brokers");
        Counter("messaging.kafka.network.transmitted", s => s.RequestBytes, "Bytes sent to brokers", "By");
        Counter("messaging.kafka.network.rx", s => s.Responses, "Responses received from brokers");
        Counter("messaging.kafka.network.received", s => s.ResponseBytes, "Bytes received from brokers", "By");
        Counter("messaging.client.sent.messages", s => s.SentMessages, "Messages produced");
        Counter("messaging.kafka.message.transmitted", s => s.SentBytes, "Size of the messages produced, framed", "By");
        Counter("messaging.client.consumed.messages", s => s.ConsumedMessages, "Messages consumed");
        Counter("messaging.kafka.message.received", s => s.ConsumedBytes, "Size of the messages consumed, framed", "By");

        void Gauge(string name, Func<Statistics, long> value, string description, string? unit = null) =>
            meter.CreateObservableGauge(name, () => Measure(value), unit, description);

        // The client library counts from its start, which is what an observable counter reports.
        void Counter(string name, Func<Statistics, long> value, string description, string? unit = null) =>
            meter.CreateObservableCounter(name, () => Measure(value), unit, description);
    }

    /// <summary>Hands a log line of the client library on; called on the library's threads.</summary>
    public void Log(LogMessage message)
    {
        var level = (LogLevel)message.LevelAs(LogLevelType.MicrosoftExtensionsLogging);
        ClientLog(level, message.Name, message.Facility, message.Message);
    }

    /// <summary>Keeps a client's newest statistics; called on the thread that polls it, which must not see it fail.</summary>
    public void Record(string json)
    {
        try
        {
            if (JsonSerializer.Deserialize(json, StatisticsJson.Default.Statistics) is { Name: { } name } statistics)
            {
                _clients[name] = statistics;
            }
        }
        catch (JsonException exception)
        {
            UnreadableStatistics(exception);
        }
    }

    private IEnumerable<Measurement<long>> Measure(Func<Statistics, long> value) =>
        _clients.Values.Select(client => new Measurement<long>(
            value(client),
            new("messaging.system", "kafka"),
            new("messaging.client.id", client.ClientId),
            new("name", client.Name),
            new("type", client.Type)));

    [LoggerMessage(EventId = 1, Message = "{Client} {Facility}: {Text}")]
    private partial void ClientLog(LogLevel level, string client, string facility, string text);

    [LoggerMessage(2, LogLevel.Debug, "Statistics of a Kafka client could not be read")]
    private partial void UnreadableStatistics(Exception exception);

    /// <summary>The totals of one client, as in librdkafka's STATISTICS.md; the rest is skipped unread.</summary>
    internal sealed record Statistics
    {
        [JsonPropertyName("name")]
        public string? Name { get; init; }

        [JsonPropertyName("client_id")]
        public string? ClientId { get; init; }

        [JsonPropertyName("type")]
        public string? Type { get; init; }

        [JsonPropertyName("replyq")]
        public long ReplyQueue { get; init; }

        [JsonPropertyName("msg_cnt")]
        public long QueuedMessages { get; init; }

        [JsonPropertyName("msg_size")]
        public long QueuedBytes { get; init; }

        [JsonPropertyName("tx")]
        public long Requests { get; init; }

        [JsonPropertyName("tx_bytes")]
        public long RequestBytes { get; init; }

        [JsonPropertyName("rx")]
        public long Responses { get; init; }

        [JsonPropertyName("rx_bytes")]
        public long ResponseBytes { get; init; }

        [JsonPropertyName("txmsgs")]
        public long SentMessages { get; init; }

        [JsonPropertyName("txmsg_bytes")]
        public long SentBytes { get; init; }

        [JsonPropertyName("rxmsgs")]
        public long ConsumedMessages { get; init; }

        [JsonPropertyName("rxmsg_bytes")]
        public long ConsumedBytes { get; init; }
    }

    [JsonSerializable(typeof(Statistics))]
    internal sealed partial class StatisticsJson : JsonSerializerContext;
}
