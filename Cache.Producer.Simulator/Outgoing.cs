using System.Text;
using Confluent.Kafka;

namespace Cache.Producer.Simulator;

/// <summary>A row as it goes to Kafka.</summary>
/// <param name="Topic">Its topic.</param>
/// <param name="Partition">The partition that it came from; <see cref="Partition.Any"/> if there is none.</param>
/// <param name="Key">Its key; null if it has none.</param>
/// <param name="Value">Its value.</param>
/// <param name="Headers">Its headers; null if it has none.</param>
/// <param name="Times">Where its times are; null if nobody knows.</param>
/// <param name="IsMalformed">Whether it breaks a rule of the format on purpose.</param>
internal readonly record struct Outgoing(
    string Topic, Partition Partition, byte[]? Key, byte[] Value, Headers? Headers = null, RowTimes? Times = null, bool IsMalformed = false)
{
    /// <summary>A made-up row.</summary>
    public static Outgoing Of(Row row) =>
        new(row.Topic, Partition.Any, Encoding.UTF8.GetBytes(row.Key), row.Value, IsMalformed: row.Traits.HasFlag(RowTraits.Malformed));
}

/// <summary>A line of a file cannot be sent.</summary>
/// <param name="line">Its number, from 1.</param>
/// <param name="reason">Why; completes a sentence that begins with the line.</param>
internal sealed class BadLineException(long line, string reason) : Exception(FormattableString.Invariant($"line {line}: {reason}"));
