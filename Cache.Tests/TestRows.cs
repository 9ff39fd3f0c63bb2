using System.Text;
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

    public static Row Event(long window, string type, long? count = null, long? users = null) =>
        Row.Window(RowKind.Event, window, Dimension(type, ".count", ".users"), new(count ?? 0, users ?? 0, count is not null, users is not null));

    public static Row Performance(long window, string device, double? average = null, double? p95 = null) =>
        Row.Window(RowKind.Performance, window, Dimension(device, ".avg_load_time", ".p95_load_time"),
            new(BitConverter.DoubleToInt64Bits(average ?? 0), BitConverter.DoubleToInt64Bits(p95 ?? 0), average is not null, p95 is not null));

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

    private static Dimension Dimension(string name, string firstSuffix, string secondSuffix) =>
        new DimensionTable(firstSuffix, secondSuffix).Get(Encoding.UTF8.GetBytes(name));
}
