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
