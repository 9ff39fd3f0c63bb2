using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// The functions of librdkafka that Confluent.Kafka does not pass on, for the consumer that it has created (rdkafka.h). Called on the
/// consume thread alone, while the consumer lives.
/// </summary>
internal static unsafe partial class NativeConsumer
{
    /// <summary>The code of a message that is the end of a partition.</summary>
    public const int PartitionEnd = (int)ErrorCode.Local_PartitionEOF;

    private static readonly string[] Functions =
    [
        "rd_kafka_queue_get_consumer", "rd_kafka_queue_destroy", "rd_kafka_consume_batch_queue", "rd_kafka_message_destroy", "rd_kafka_message_timestamp",
        "rd_kafka_message_headers", "rd_kafka_header_get_all", "rd_kafka_header_get_last", "rd_kafka_topic_name",
    ];

    // Until 2.13.2, the client's own position was off by one after the end of a partition in a batch (its change log, #5213).
    private const int FirstVersion = 0x020d0200;

    // Before any of the functions below is called: the first call looks the library up.
    [ModuleInitializer]
    internal static void UseConfluentsLibrary() =>
        NativeLibrary.SetDllImportResolver(typeof(NativeConsumer).Assembly, static (name, _, _) => name == KafkaLibrary.Name ? KafkaLibrary.Handle : 0);

    /// <summary>Why rows cannot be taken in batches; null if they can.</summary>
    public static string? Obstacle()
    {
        if (Library.Version < FirstVersion)
        {
            return $"librdkafka {Library.VersionString} is older than 2.13.2";
        }

        return Array.Find(Functions, function => !NativeLibrary.TryGetExport(KafkaLibrary.Handle, function, out _)) is { } missing
            ? $"librdkafka {Library.VersionString} has no {missing}" : null;
    }

    /// <summary>The native consumer. It lives as long as the consumer is not disposed, or held (<see cref="KafkaHandle.Hold"/>).</summary>
    public static nint HandleOf(IConsumer<RowKey, Row> consumer) => KafkaHandle.Native(consumer)!.DangerousGetHandle();

    /// <summary>The queue of a consumer, to be given back with <see cref="DestroyQueue"/>.</summary>
    [LibraryImport(KafkaLibrary.Name, EntryPoint = "rd_kafka_queue_get_consumer")]
    public static partial nint QueueOf(nint consumer);

    /// <summary>Gives a queue back.</summary>
    [LibraryImport(KafkaLibrary.Name, EntryPoint = "rd_kafka_queue_destroy")]
    public static partial void DestroyQueue(nint queue);

    /// <summary>
    /// Takes messages, and calls the client's callbacks. Returns once there are as many as asked for, or after the wait: it does not return
    /// early with fewer.
    /// </summary>
    /// <returns>The number of messages, each to be given back with <see cref="Destroy"/>.</returns>
    [LibraryImport(KafkaLibrary.Name, EntryPoint = "rd_kafka_consume_batch_queue")]
    public static partial nint Take(nint queue, int waitMs, Message** messages, nuint count);

    /// <summary>Gives a message back.</summary>
    [LibraryImport(KafkaLibrary.Name, EntryPoint = "rd_kafka_message_destroy")]
    public static partial void Destroy(Message* message);

    /// <summary>The time of a message, milliseconds since 1970 UTC; -1 if it has none.</summary>
    [LibraryImport(KafkaLibrary.Name, EntryPoint = "rd_kafka_message_timestamp")]
    public static partial long Timestamp(Message* message, out int type);

    /// <summary>The headers of a message, which belong to it.</summary>
    /// <returns>0 if it has any.</returns>
    [LibraryImport(KafkaLibrary.Name, EntryPoint = "rd_kafka_message_headers")]
    public static partial int Headers(Message* message, out nint headers);

    /// <summary>A header by its place, from 0.</summary>
    /// <returns>0 if there is one.</returns>
    [LibraryImport(KafkaLibrary.Name, EntryPoint = "rd_kafka_header_get_all")]
    public static partial int Header(nint headers, nuint place, out byte* name, out byte* value, out nuint length);

    /// <summary>The last header of a name.</summary>
    /// <returns>0 if there is one.</returns>
    [LibraryImport(KafkaLibrary.Name, EntryPoint = "rd_kafka_header_get_last", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int LastHeader(nint headers, string name, out byte* value, out nuint length);

    /// <summary>The name of a topic, which belongs to it.</summary>
    [LibraryImport(KafkaLibrary.Name, EntryPoint = "rd_kafka_topic_name")]
    public static partial nint TopicName(nint topic);

    /// <summary>A message (<c>rd_kafka_message_t</c>).</summary>
    [StructLayout(LayoutKind.Sequential)]
    public readonly struct Message
    {
        /// <summary>0, or what this is instead of a message; the value is its text then.</summary>
        public readonly int Error;

        /// <summary>The topic; none for an error that concerns none.</summary>
        public readonly nint Topic;

        /// <summary>The partition.</summary>
        public readonly int Partition;

        /// <summary>The value; null for a tombstone.</summary>
        public readonly byte* Value;

        /// <summary>The length of the value.</summary>
        public readonly nuint ValueLength;

        /// <summary>The key; null if there is none.</summary>
        public readonly byte* Key;

        /// <summary>The length of the key.</summary>
        public readonly nuint KeyLength;

        /// <summary>The offset.</summary>
        public readonly long Offset;
    }
}
