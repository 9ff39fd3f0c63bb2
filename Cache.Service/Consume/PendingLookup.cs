using Cache.Service.Partitions;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>A question about partitions that Kafka has been asked; the loop keeps polling until the answer is there.</summary>
internal sealed record PendingLookup<T>(List<AssignedPartition> Partitions, Task<T> Answer)
{
    /// <summary>Takes the answer, once it is there.</summary>
    /// <param name="lookup">The question; null once its answer is taken.</param>
    /// <param name="partitions">The partitions asked about that are still owned.</param>
    /// <param name="answer">The answer.</param>
    /// <exception cref="KafkaException">Kafka did not answer.</exception>
    public static bool TryTake(ref PendingLookup<T>? lookup, out List<AssignedPartition> partitions, out T answer)
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
