using Cache.Service.Partitions;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>A lookup in progress for some partitions; the loop keeps polling until Kafka has answered.</summary>
internal sealed record PendingLookup<T>(List<AssignedPartition> Partitions, Task<T> Answer);

/// <summary>Ends lookups.</summary>
internal static class PendingLookup
{
    /// <summary>Takes the answer of a lookup once it has arrived.</summary>
    /// <param name="lookup">The lookup; set to null once it has completed.</param>
    /// <param name="partitions">Its partitions that are still owned.</param>
    /// <param name="answer">The answer.</param>
    /// <exception cref="KafkaException">Kafka did not answer.</exception>
    public static bool TryTake<T>(ref PendingLookup<T>? lookup, out List<AssignedPartition> partitions, out T answer)
    {
        if (lookup is not { Answer.IsCompleted: true } done)
        {
            (partitions, answer) = ([], default!);
            return false;
        }

        lookup = null;
        answer = done.Answer.GetAwaiter().GetResult();
        partitions = done.Partitions.FindAll(partition => partition.Owned);
        return true;
    }
}
