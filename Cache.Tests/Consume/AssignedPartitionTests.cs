using Cache.Service.Partitions;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

public sealed class AssignedPartitionTests
{
    private readonly FakeTimeProvider _time = new(new(2025, 1, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly AssignedPartition _partition = TestRows.Partition(3);

    [Fact]
    public void NewPartition_KnowsNothingYet()
    {
        Assert.True(_partition.Owned);
        Assert.Equal((-1, -1, -1, -1), (_partition.Next, _partition.Written, _partition.Committed, _partition.LogEnd));
        Assert.Equal((0, 0), (_partition.Pending, _partition.LagRows));
        Assert.Equal("event_metrics/3", _partition.ToString());

        _partition.EndSeen(100, _time.GetUtcNow());
        Assert.Equal(0, _partition.LagRows);
    }

    [Fact]
    public void Pending_IsWhatWasEnqueuedAndIsNotCommitted()
    {
        _partition.Next = 7;
        Assert.Equal(0, _partition.Pending);

        // Until something is committed, rows count from the start, if it is known.
        _partition.WrittenUpTo(2, 0);
        Assert.Equal(7, _partition.Pending);
        _partition.StartAt(0);
        _partition.Next = 7;
        Assert.Equal(7, _partition.Pending);
        _partition.StartAt(3);
        _partition.Next = 7;
        Assert.Equal(4, _partition.Pending);
        _partition.Committed = 5;
        Assert.Equal(2, _partition.Pending);
    }

    [Fact]
    public void PartitionFromItsFirstOffset_StartsThere()
    {
        var start = new Confluent.Kafka.TopicPartitionOffset(_partition.TopicPartition, 0);
        var partition = AssignedPartition.From(start, resumed: true, new());
        Assert.Equal((0, 0, 0), (partition.Next, partition.Written, partition.Committed));
    }

    [Fact]
    public void Lag_IsFromWhatIsWrittenToTheEnd()
    {
        _partition.StartAt(100);
        _partition.EndSeen(150, _time.GetUtcNow());
        Assert.Equal(50, _partition.LagRows);

        _partition.WrittenUpTo(140, 0);
        Assert.Equal(10, _partition.LagRows);

        // The last known end may be older than what is written.
        _partition.WrittenUpTo(160, 0);
        Assert.Equal(0, _partition.LagRows);
    }

    [Fact]
    public void LagSeconds_CountFromTheLastWrittenRow()
    {
        var first = _time.GetUtcNow();
        _partition.StartAt(0);
        _partition.WrittenUpTo(1, first.ToUnixTimeMilliseconds());
        _time.Advance(TimeSpan.FromSeconds(5));
        _partition.EndSeen(10, _time.GetUtcNow());

        Assert.Equal(5, LagSeconds());
        _time.Advance(TimeSpan.FromSeconds(1.5));
        Assert.Equal(6.5, LagSeconds());

        // A row without a timestamp does not change the lag.
        _partition.WrittenUpTo(2, 0);
        Assert.Equal(6.5, LagSeconds());

        _partition.WrittenUpTo(10, first.AddSeconds(6).ToUnixTimeMilliseconds());
        Assert.Equal(0, LagSeconds());
    }

    [Fact]
    public void LagSeconds_OfAnIdleTopic_StartFromZeroWhenItWakes()
    {
        _partition.StartAt(10);
        _partition.WrittenUpTo(10, _time.GetUtcNow().ToUnixTimeMilliseconds());
        _time.Advance(TimeSpan.FromHours(3));
        _partition.EndSeen(10, _time.GetUtcNow());
        Assert.Equal(0, LagSeconds());

        _time.Advance(TimeSpan.FromSeconds(1));
        _partition.EndSeen(11, _time.GetUtcNow());
        Assert.Equal(1, LagSeconds());
    }

    [Fact]
    public void LagSeconds_AreNeverNegative_WhateverClockTheProducerHas()
    {
        _partition.StartAt(0);
        _partition.WrittenUpTo(1, _time.GetUtcNow().AddHours(1).ToUnixTimeMilliseconds());
        _partition.EndSeen(2, _time.GetUtcNow());

        Assert.Equal(0, LagSeconds());
    }

    [Fact]
    public void Pending_IsWhatIsConsumedAndNotCommitted()
    {
        _partition.StartAt(1000);
        Assert.Equal(0, _partition.Pending);

        _partition.Next = 1010;
        Assert.Equal(10, _partition.Pending);

        _partition.Committed = 1004;
        Assert.Equal(6, _partition.Pending);

        _partition.Committed = 1010;
        Assert.Equal(0, _partition.Pending);
    }

    private double LagSeconds() => _partition.LagSeconds(_time.GetUtcNow());
}
