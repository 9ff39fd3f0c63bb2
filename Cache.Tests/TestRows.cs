using System.Text;
using Cache.Metrics;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Tests;

/// <summary>Short ways to create partitions, rows and batches.</summary>
internal static class TestRows
{
    private static readonly AssignedPartition Anywhere = Partition();

    public static AssignedPartition Partition(int number = 0, string topic = "event_metrics") =>
        new(new TopicPartition(topic, number), new RowCounter());

    public static Row Event(long window, string type, long? count = null, long? users = null) => Window(MetricType.Event, window, type, count, users);

    public static Row Performance(long window, string device, double? average = null, double? p95 = null) => Window(MetricType.Performance, window, device, Bits(average), Bits(p95));

    /// <summary>A row of any type.</summary>
    /// <param name="type">The type.</param>
    /// <param name="window">The window's start.</param>
    /// <param name="dimension">The dimension.</param>
    /// <param name="values">The values of the measures, as the row holds them; null for those absent.</param>
    public static Row Window(MetricType type, long window, string dimension, params long?[] values) => Row.Window(window, Dimension(type, dimension), Measures(values));

    /// <summary>A dimension of a type.</summary>
    public static Dimension Dimension(MetricType type, string name) => new DimensionTable(type).Get(Encoding.UTF8.GetBytes(name));

    /// <summary>Measures from their values; null for those absent.</summary>
    public static Measures Measures(params long?[] values) =>
        Service.Model.Measures.Of(Array.ConvertAll(values, value => value ?? 0), values.Index().Sum(value => value.Item is null ? 0 : 1 << value.Index));

    /// <summary>What a batch writes for a dimension.</summary>
    public static Measures MeasuresOf(this WindowWrite window, Dimension dimension) =>
        Measures([.. Enumerable.Range(0, dimension.Type.Measures.Count).Select(number => window.Value(dimension, number))]);

    public static Row Session(string id, long end, string? user = null, long? start = null, long? duration = null, long? pages = null, string? device = null) =>
        Row.Of(new Session(id, end, user, start, duration, pages, device));

    public static Row Rejected(int bytes = 3, int headerBytes = 0) => Row.Reject(
        RejectReason.NotJson, new RejectedRow(null, new byte[bytes], headerBytes == 0 ? null : [new Header("large", new byte[headerBytes])]));

    public static QueuedRow At(this Row row, AssignedPartition partition, long offset, long timestamp = 0) => new(partition, offset, timestamp, row);

    public static QueuedRow Marker(TaskCompletionSource drained) => new(null, 0, 0, default, Drained: drained);

    /// <summary>A batch of rows of one partition.</summary>
    public static Batch Batch(params IEnumerable<Row> rows)
    {
        var batch = new Batch();
        var offset = 0;
        foreach (var row in rows)
        {
            batch.Add(row.At(Anywhere, offset++), 0);
        }

        return batch;
    }

    /// <summary>A row as text, for the message of a failed property.</summary>
    public static string Show(Row row) => row.Session is { } session ? $"{session}" : $"{row.Kind} {row.WindowStart} {row.Dimension} {row.Measures}";

    private static long? Bits(double? number) => number is { } value ? BitConverter.DoubleToInt64Bits(value) : null;
}
