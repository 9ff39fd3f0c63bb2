using Cache.Service.Model;

namespace Cache.Service.Partitions;

/// <summary>A rejected row on its way to the dead-letter topic.</summary>
internal sealed record DeadLetter(AssignedPartition Partition, long Offset, long Timestamp, RejectReason Reason, RejectedRow Row);
