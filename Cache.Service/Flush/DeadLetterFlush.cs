using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Persist;

namespace Cache.Service.Flush;

/// <summary>Sends the rejected rows of a batch to the dead-letter topic, retrying until it accepts them.</summary>
internal sealed class DeadLetterFlush(
    DeadLetters deadLetters, RowReader reader, BatchRetry retry, SchemaRegistry registry, CacheOptions options, TimeProvider time)
{
    /// <summary>Sends the dead letters that the batch holds.</summary>
    public async Task SendAsync(Batch batch)
    {
        if (batch.DeadLetters.Count > 0)
        {
            await retry.RetryAsync("The dead-letter topic", async () =>
            {
                await deadLetters.SendAsync(batch.DeadLetters);
                return true;
            }, batch);
        }
    }

    /// <summary>
    /// Makes dead letters of the rows that Redis will never accept; the last portion of them is left in the batch. Their bytes are
    /// reread from Kafka, in portions: it may be every row of the batch, and large ones.
    /// </summary>
    public async Task AddRefusedAsync(Batch batch, WriteResult result)
    {
        var decoder = new RowDecoder(options, time, registry.Schemas);
        foreach (var range in batch.Ranges.ToList())
        {
            var next = range.First;
            while (next < range.Next && range.Partition.Owned)
            {
                var from = next;
                var rows = await retry.RetryAsync(
                    "Kafka", () => Task.Run(() => reader.Read(range.Partition.TopicPartition, from, range.Next, Batch.MaxDeadLetterBytes)), batch);
                if (rows is null)
                {
                    return;
                }

                next = rows is [.., var last] && rows.Sum(RowReader.SizeOf) >= Batch.MaxDeadLetterBytes ? last.Offset + 1 : range.Next;
                foreach (var read in rows)
                {
                    if (read.Message.Value is not { } value)
                    {
                        continue;
                    }

                    var row = decoder.Decode(read.Topic, value);
                    while (row.Kind == RowKind.AwaitsSchema)
                    {
                        // The registry had answered when the row was consumed; that answer is forgotten by now.
                        var id = row.SchemaId;
                        if (!await retry.RetryAsync("The schema registry", () => registry.LearnAsync(id), batch))
                        {
                            return;
                        }

                        row = decoder.Decode(read.Topic, value);
                    }

                    if (result.Refused(row) is not RejectReason.None and var reason)
                    {
                        batch.DeadLetters.Add(new(range.Partition, read.Offset.Value, read.Message.Timestamp.UnixTimestampMs, reason,
                            new(read.Message.Key, value, read.Message.Headers)));
                    }
                }

                if (next < range.Next)
                {
                    await SendAsync(batch);
                }
            }
        }
    }
}
