using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Cache.Service.Decode;
using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Rows in batches, straight from librdkafka: decoded where they lie, without an object or a call into the library's wrapper per row.
/// Callbacks run on the thread that takes them, as with <see cref="SingleRows"/>, and are registered with the same consumer.
/// </summary>
/// <param name="consumer">The consumer; nothing else may take rows from it.</param>
/// <param name="handle">Its native handle.</param>
/// <param name="decoder">Decodes the values.</param>
/// <param name="most">Rows in a batch at most.</param>
internal sealed unsafe class BatchedRows(IConsumer<RowKey, Row> consumer, nint handle, RowDecoder decoder, int most) : IRowSource
{
    private readonly List<string> _topics = [];
    private NativeConsumer.Message** _messages;
    private nint _queue;
    private int _count;
    private int _at;
    private nint _topic;
    private string _topicName = "";

    /// <inheritdoc/>
    public IConsumer<RowKey, Row> Consumer => consumer;

    /// <inheritdoc/>
    public bool TakesBatches => true;

    /// <inheritdoc/>
    public bool HasMore => _at < _count;

    /// <inheritdoc/>
    public bool TryTake(TimeSpan wait, out Received received)
    {
        if (_at == _count && !Fill(wait))
        {
            received = default;
            return false;
        }

        var message = _messages[_at++];
        try
        {
            received = Read(message);
            return true;
        }
        finally
        {
            NativeConsumer.Destroy(message);
        }
    }

    /// <inheritdoc/>
    public void End()
    {
        while (_at < _count)
        {
            NativeConsumer.Destroy(_messages[_at++]);
        }

        if (_queue != 0)
        {
            NativeConsumer.DestroyQueue(_queue);
            NativeMemory.Free(_messages);
            _queue = 0;
        }
    }

    /// <summary>Waits for one message, and takes those at hand with it.</summary>
    private bool Fill(TimeSpan wait)
    {
        if (_queue == 0)
        {
            _queue = NativeConsumer.QueueOf(handle);
            _messages = (NativeConsumer.Message**)NativeMemory.Alloc((nuint)most, (nuint)sizeof(NativeConsumer.Message*));
        }

        (_at, _count, _topic) = (0, 0, 0);
        if (wait > TimeSpan.Zero)
        {
            // Waiting for a full batch would hold up a lone row.
            _count = (int)NativeConsumer.Take(_queue, (int)Math.Ceiling(wait.TotalMilliseconds), _messages, 1);
        }

        if (_count > 0 || wait <= TimeSpan.Zero)
        {
            _count += (int)NativeConsumer.Take(_queue, 0, _messages + _count, (nuint)(most - _count));
        }

        return _count > 0;
    }

    private Received Read(NativeConsumer.Message* message)
    {
        var topic = TopicOf(message->Topic);
        switch (message->Error)
        {
            case 0:
                break;
            case NativeConsumer.PartitionEnd:
                return new(topic, message->Partition, message->Offset, 0, Row.Skip, IsEnd: true);
            default:
                var code = (ErrorCode)message->Error;
                var text = message->ValueLength > 0 ? Encoding.UTF8.GetString(message->Value, (int)message->ValueLength) : new Error(code).Reason;
                throw new ConsumeException(
                    new() { TopicPartitionOffset = new(topic, message->Partition, message->Offset) }, new Error(code, text, isFatal: code == ErrorCode.Local_Fatal));
        }

        var row = message->Value is null ? Row.Skip : decoder.Decode(topic, new(message->Value, (int)message->ValueLength));
        if (row.Kind == RowKind.Rejected)
        {
            row = Row.Reject(row.Reason, Keep(message));
        }

        return new(topic, message->Partition, message->Offset, Math.Max(0, NativeConsumer.Timestamp(message, out _)), row, ReceiveSpan.IsWanted ? TraceOf(message) : null);
    }

    /// <summary>The name of a topic. Messages of one batch hold their topics, so that its address stands for one of them.</summary>
    private string TopicOf(nint topic)
    {
        if (topic == 0)
        {
            return "";
        }

        if (topic != _topic)
        {
            var name = MemoryMarshal.CreateReadOnlySpanFromNullTerminated((byte*)NativeConsumer.TopicName(topic));
            (_topic, _topicName) = (topic, Known(name));
        }

        return _topicName;
    }

    private string Known(ReadOnlySpan<byte> name)
    {
        foreach (var known in _topics)
        {
            // Names of topics are ASCII.
            if (Ascii.Equals(name, known))
            {
                return known;
            }
        }

        _topics.Add(Encoding.UTF8.GetString(name));
        return _topics[^1];
    }

    private static ActivityContext? TraceOf(NativeConsumer.Message* message) =>
        NativeConsumer.Headers(message, out var headers) == 0 && NativeConsumer.LastHeader(headers, ReceiveSpan.TraceParent, out var parent, out var length) == 0 && parent is not null
            ? ReceiveSpan.ParentOf(
                new(parent, (int)length),
                NativeConsumer.LastHeader(headers, ReceiveSpan.TraceState, out var state, out var stateLength) == 0 && state is not null ? new(state, (int)stateLength) : [])
            : null;

    /// <summary>Copies the bytes of a message.</summary>
    private static RejectedRow Keep(NativeConsumer.Message* message)
    {
        Headers? kept = null;
        if (NativeConsumer.Headers(message, out var headers) == 0)
        {
            kept = [];
            for (nuint place = 0; NativeConsumer.Header(headers, place, out var name, out var value, out var length) == 0; place++)
            {
                kept.Add(Marshal.PtrToStringUTF8((nint)name), value is null ? null : new ReadOnlySpan<byte>(value, (int)length).ToArray());
            }
        }

        return new(
            message->Key is null ? null : new ReadOnlySpan<byte>(message->Key, (int)message->KeyLength).ToArray(),
            new ReadOnlySpan<byte>(message->Value, (int)message->ValueLength).ToArray(),
            kept);
    }
}
