using Cache.Service.Partitions;

namespace Cache.Tests.Consume;

public sealed class AssignmentTests
{
    private readonly Assignment _assignment = new();
    private readonly AssignedPartition _first = TestRows.Partition(0);
    private readonly AssignedPartition _second = TestRows.Partition(1);

    public AssignmentTests()
    {
        _assignment.Assign(_first);
        _assignment.Assign(_second);
    }

    [Fact]
    public void AssignedPartition_IsFoundByTopicAndNumber()
    {
        var other = TestRows.Partition(0, "performance_metrics");
        _assignment.Assign(other);

        Assert.Same(_first, _assignment.Find("event_metrics", 0));
        Assert.Same(_first, _assignment.Find("event_metrics", 0));
        Assert.Same(other, _assignment.Find("performance_metrics", 0));
        Assert.Same(_second, _assignment.Find("event_metrics", 1));
        Assert.Null(_assignment.Find("event_metrics", 2));
        Assert.Null(_assignment.Find("other", 0));
        Assert.Equal([_first, _second, other], _assignment.Current);
    }

    [Fact]
    public void RewoundPartition_IsAsOldAsBefore()
    {
        _first.Since = DateTimeOffset.UnixEpoch.AddDays(1);

        _assignment.Rewind(_first, from: 3, epoch: null);

        Assert.Equal(_first.Since, _assignment.Find("event_metrics", 0)!.Since);
        Assert.NotSame(_first, _assignment.Find("event_metrics", 0));
    }

    [Fact]
    public void Partitions_InOrder_AreByTopicAndNumber()
    {
        _assignment.Assign(TestRows.Partition(10));
        _assignment.Assign(TestRows.Partition(7, "a"));
        _assignment.Assign(TestRows.Partition(2));

        Assert.Equal(["a/7", "event_metrics/0", "event_metrics/1", "event_metrics/2", "event_metrics/10"], _assignment.InOrder.Select(partition => partition.ToString()));
    }

    [Fact]
    public async Task Changes_AreSignalled()
    {
        var next = _assignment.Changed.Next;
        _assignment.Rewind(_first, from: 3, epoch: null);
        Assert.False(next.IsCompleted);

        _assignment.Revocation = new([_second.TopicPartition], DateTimeOffset.UnixEpoch, RevocationStep.Flush);
        await next.WaitAsync(TestTimeout.Full);
        next = _assignment.Changed.Next;
        _assignment.Revoke([_second.TopicPartition]);
        await next.WaitAsync(TestTimeout.Full);
        Assert.False(_assignment.Changed.Next.IsCompleted);
    }

    [Fact]
    public void RevokedPartition_IsNotFound_AndNeverOwnedAgain()
    {
        var snapshot = _assignment.Current;
        Assert.Same(_first, _assignment.Find("event_metrics", 0));

        _assignment.Revoke([_first.TopicPartition]);

        Assert.False(_first.Owned);
        Assert.True(_second.Owned);
        Assert.Null(_assignment.Find("event_metrics", 0));
        Assert.Equal([_second], _assignment.Current);
        Assert.Equal([_first, _second], snapshot);

        _assignment.Assign(TestRows.Partition(0));
        Assert.False(_first.Owned);
    }

    [Fact]
    public void RewoundPartition_ReplacesTheOneBefore_WhoseRowsCountNoMore()
    {
        Assert.Same(_first, _assignment.Find("event_metrics", 0));
        var rewound = TestRows.Partition(0);

        _assignment.Assign(rewound);

        Assert.False(_first.Owned);
        Assert.True(rewound.Owned);
        Assert.Same(rewound, _assignment.Find("event_metrics", 0));
        Assert.Equal([_second, rewound], _assignment.Current);
    }

    [Fact]
    public void RevokeAll_LeavesNothing()
    {
        _assignment.RevokeAll();

        Assert.Empty(_assignment.Current);
        Assert.False(_first.Owned);
        Assert.False(_second.Owned);
    }
}
