using Cache.Metrics;
using Cache.Service.Model;
using Cache.Service.Partitions;

namespace Cache.Tests.Flush;

public sealed class BatchTests
{
    private readonly Batch _batch = new();

    [Fact]
    public void RowsOfOneField_CollapseToTheLast()
    {
        var partition = TestRows.Partition();
        _batch.Add(TestRows.Event(1, "a", count: 1, users: 1).At(partition, 10, timestamp: 500), 7);
        _batch.Add(TestRows.Event(1, "a", count: 2).At(partition, 11, timestamp: 300), 8);
        _batch.Add(TestRows.Event(1, "b", users: 3).At(partition, 15), 9);

        var fields = Assert.Single(_batch.Windows).Value;
        Assert.Equal(2, fields.Count);
        Assert.Equal(TestRows.Measures(2, 1), fields.MeasuresOf(TestRows.Event(1, "a").Dimension!));
        Assert.Equal(TestRows.Measures(null, 3), fields.MeasuresOf(TestRows.Event(1, "b").Dimension!));
        Assert.Equal(3, _batch.Rows);
        Assert.Equal(7, _batch.StartedAt);
        var range = Assert.Single(_batch.Ranges);
        Assert.Equal((10, 16, 500), (range.First, range.Next, range.Timestamp));
    }

    [Fact]
    public void WindowsOfTwoTypes_WithOneStart_AreTwo()
    {
        var partition = TestRows.Partition();
        _batch.Add(TestRows.Event(1, "a", count: 1).At(partition, 0), 0);
        _batch.Add(TestRows.Performance(1, "a", average: 1).At(partition, 1), 0);

        Assert.Equal([new WindowKey(MetricType.Event, 1), new(MetricType.Performance, 1)], _batch.Windows.Keys);
    }

    [Fact]
    public void EveryPartition_HasItsRange_WhateverItsRowsAre()
    {
        var (events, rejected, skipped) = (TestRows.Partition(0), TestRows.Partition(1), TestRows.Partition(2));
        _batch.Add(TestRows.Event(1, "a", count: 1).At(events, 5), 0);
        _batch.Add(TestRows.Rejected().At(rejected, 100, timestamp: 9), 0);
        _batch.Add(Row.Skip.At(skipped, 7), 0);
        _batch.Add(TestRows.Event(2, "a", count: 1).At(events, 6), 0);

        Assert.Equal([(events, 5, 7), (rejected, 100, 101), (skipped, 7, 8)], _batch.Ranges.Select(range => (range.Partition, range.First, range.Next)));
        var letter = Assert.Single(_batch.DeadLetters);
        Assert.Equal((rejected, 100, 9, RejectReason.NotJson), (letter.Partition, letter.Offset, letter.Timestamp, letter.Reason));
        Assert.Equal(4, _batch.Rows);
    }

    [Fact]
    public void RowOfARevokedPartition_IsIgnored()
    {
        var partition = TestRows.Partition();
        partition.Revoke();
        _batch.Add(TestRows.Event(1, "a", count: 1).At(partition, 0), 0);
        _batch.Add(TestRows.Rejected().At(partition, 1), 0);

        Assert.True(_batch.IsEmpty);
        Assert.Empty(_batch.Windows);
        Assert.Empty(_batch.Ranges);
        Assert.Empty(_batch.DeadLetters);
    }

    [Fact]
    public void DropRevoked_RemovesOnlyTheMeasuresOfTheRevokedPartition()
    {
        var (kept, lost) = (TestRows.Partition(0), TestRows.Partition(1));
        _batch.Add(TestRows.Event(1, "a", count: 1).At(kept, 0), 0);
        _batch.Add(TestRows.Event(1, "a", users: 2).At(lost, 0), 0);
        _batch.Add(TestRows.Event(1, "b", count: 3).At(lost, 1), 0);
        _batch.Add(TestRows.Event(1, "b", users: 4).At(kept, 1), 0);
        lost.Revoke();

        _batch.DropRevoked();

        var fields = Assert.Single(_batch.Windows).Value;
        Assert.Equal(TestRows.Measures(1, null), fields.MeasuresOf(TestRows.Event(1, "a").Dimension!));
        Assert.Equal(TestRows.Measures(null, 4), fields.MeasuresOf(TestRows.Event(1, "b").Dimension!));
    }

    [Fact]
    public void Batch_IsFullByDistinctWindows_NotByRows()
    {
        var partition = TestRows.Partition();
        for (var offset = 0; offset < 100; offset++)
        {
            _batch.Add(TestRows.Event(1 + (offset % 2), $"type {offset}", count: 1).At(partition, offset), 0);
        }

        Assert.False(_batch.IsFull(maxWindows: 3));
        _batch.Add(TestRows.Performance(1, "mobile", p95: 1).At(partition, 100), 0);
        Assert.True(_batch.IsFull(maxWindows: 3));
    }

    [Fact]
    public void RowsOfOneSession_CollapseToTheLastOfEachField()
    {
        var partition = TestRows.Partition();
        _batch.Add(TestRows.Session("s", 5, user: "u", pages: 1).At(partition, 0), 0);
        _batch.Add(TestRows.Session("t", 5).At(partition, 1), 0);
        _batch.Add(TestRows.Session("s", 6, pages: 2, device: "TV").At(partition, 2), 0);

        Assert.Equal(2, _batch.Sessions.Count);
        Assert.Equal(new Session("s", 6, "u", Pages: 2, Device: "TV"), _batch.Sessions["s"].EndedAfter(0));
        Assert.Empty(_batch.Windows);
        Assert.Equal((0, 3), (_batch.Ranges[0].First, _batch.Ranges[0].Next));
    }

    [Fact]
    public void SessionRow_ThatEndedTooLongAgo_RemovesNothingFromNewerOnes()
    {
        var partition = TestRows.Partition();
        _batch.Add(TestRows.Session("s", 9, user: "u").At(partition, 0), 0);
        _batch.Add(TestRows.Session("s", 4, user: "v", pages: 1).At(partition, 1), 0);
        _batch.Add(TestRows.Session("s", 7, pages: 2).At(partition, 2), 0);

        Assert.Equal(new Session("s", 7, "v", Pages: 2), _batch.Sessions["s"].EndedAfter(3));

        // The third row is one with the second, since it ends later.
        Assert.Equal(new Session("s", 7, "v", Pages: 2), _batch.Sessions["s"].EndedAfter(6));
        Assert.Equal(new Session("s", 9, "u"), _batch.Sessions["s"].EndedAfter(8));
        Assert.Null(_batch.Sessions["s"].EndedAfter(9));
    }

    [Fact]
    public void SessionRows_ThatCannotBeOne_AreOneWhenTheyAreWritten()
    {
        var (left, right) = (TestRows.Partition(0), TestRows.Partition(1));
        _batch.Add(TestRows.Session("s", 5, device: "TV").At(left, 0), 0);
        _batch.Add(TestRows.Session("s", 6, pages: 2).At(right, 0), 0);
        _batch.Add(TestRows.Session("s", 7, user: "u").At(left, 1), 0);

        Assert.Equal(new Session("s", 7, "u", Pages: 2, Device: "TV"), _batch.Sessions["s"].EndedAfter(0));
        Assert.Equal(new Session("s", 7, "u", Pages: 2), _batch.Sessions["s"].EndedAfter(5));
    }

    [Fact]
    public void ClearedBatch_UsesWhatItHadForWindows_UnlessThatIsLargeOrMuch()
    {
        var partition = TestRows.Partition();
        var small = WindowsOf(150, dimensions: 1);
        var again = WindowsOf(150, dimensions: 1);
        Assert.Equal(100, again.Count(small.Contains));

        var large = WindowsOf(1, dimensions: 2000);
        Assert.DoesNotContain(WindowsOf(200, dimensions: 1), large.Contains);

        HashSet<object> WindowsOf(int windows, int dimensions)
        {
            for (var row = 0; row < windows * dimensions; row++)
            {
                _batch.Add(TestRows.Event(row % windows, $"type {row}", count: 1).At(partition, row), 0);
            }

            var fields = _batch.Windows.Values.ToHashSet<object>(ReferenceEqualityComparer.Instance);
            Assert.Equal(windows, fields.Count);
            Assert.All(_batch.Windows.Values, window => Assert.Equal(dimensions, window.Count));
            _batch.Clear();
            return fields;
        }
    }

    [Fact]
    public void Batch_IsFullBySessionsToo()
    {
        var partition = TestRows.Partition();
        _batch.Add(TestRows.Event(1, "a", count: 1).At(partition, 0), 0);
        _batch.Add(TestRows.Session("s", 5).At(partition, 1), 0);
        _batch.Add(TestRows.Session("s", 6).At(partition, 2), 0);

        Assert.False(_batch.IsFull(maxWindows: 3));
        _batch.Add(TestRows.Session("t", 5).At(partition, 3), 0);
        Assert.True(_batch.IsFull(maxWindows: 3));
        _batch.Clear();
        Assert.False(_batch.IsFull(maxWindows: 1));
        Assert.Empty(_batch.Sessions);
    }

    [Fact]
    public void Batch_IsFullByRowsOfOneSession_ThatCannotBeOne()
    {
        var (left, right) = (TestRows.Partition(0), TestRows.Partition(1));
        for (var offset = 0; offset < 4; offset++)
        {
            Assert.False(_batch.IsFull(maxWindows: 4));
            _batch.Add(TestRows.Session("s", 5).At(offset % 2 == 0 ? left : right, offset), 0);
        }

        Assert.True(_batch.IsFull(maxWindows: 4));
    }

    [Fact]
    public void DropRevoked_RemovesOnlyTheSessionRowsOfTheRevokedPartition()
    {
        var (kept, lost) = (TestRows.Partition(0), TestRows.Partition(1));
        _batch.Add(TestRows.Session("s", 5, user: "u").At(kept, 0), 0);
        _batch.Add(TestRows.Session("s", 6, user: "v", pages: 3).At(lost, 0), 0);
        _batch.Add(TestRows.Session("t", 5).At(lost, 1), 0);
        Assert.True(_batch.IsFull(maxWindows: 3));
        lost.Revoke();

        _batch.DropRevoked();

        Assert.False(_batch.IsFull(maxWindows: 2));
        Assert.Equal(["s"], _batch.Sessions.Keys);
        Assert.Equal(new Session("s", 5, "u"), _batch.Sessions["s"].EndedAfter(0));
    }

    [Fact]
    public void Batch_IsFullByTheBytesOfRejectedRows_HeadersAmongThem_AndCanBeUsedAgain()
    {
        var partition = TestRows.Partition();
        for (var round = 0; round < 2; round++)
        {
            var row = TestRows.Rejected(bytes: 1, headerBytes: Batch.MaxDeadLetterBytes / 2);
            _batch.Add(row.At(partition, 0), 0);
            Assert.False(_batch.IsFull(50));
            _batch.Add(row.At(partition, 1), 0);
            Assert.True(_batch.IsFull(50));
            _batch.Clear();
        }
    }

    [Fact]
    public void Batch_IsFullByRejectedRows_WhichHoldTheirBytes()
    {
        var partition = TestRows.Partition();
        for (var offset = 0; offset < 999; offset++)
        {
            _batch.Add(TestRows.Rejected().At(partition, offset), 0);
        }

        Assert.False(_batch.IsFull(maxWindows: 50));
        _batch.Add(TestRows.Rejected().At(partition, 999), 0);
        Assert.True(_batch.IsFull(maxWindows: 50));
    }

    [Fact]
    public void Marker_FillsTheBatch_SoThatNothingBehindItIsWaitedFor()
    {
        var drained = new TaskCompletionSource();
        _batch.Add(TestRows.Marker(drained), 0);

        Assert.False(_batch.IsEmpty);
        Assert.True(_batch.IsFull(maxWindows: 50));
        Assert.Equal(0, _batch.Rows);
        Assert.Same(drained, Assert.Single(_batch.Markers));
    }

    [Fact]
    public void ClearedBatch_KeepsNothing()
    {
        var partition = TestRows.Partition();
        for (var round = 0; round < 3; round++)
        {
            Assert.True(_batch.IsEmpty);
            _batch.Add(TestRows.Event(1, $"type {round}", count: round).At(partition, 2 * round), now: 10 * round);
            _batch.Add(TestRows.Rejected().At(partition, (2 * round) + 1), 0);
            _batch.Add(TestRows.Marker(new()), 0);

            var fields = Assert.Single(_batch.Windows).Value;
            Assert.Equal($"type {round}", Assert.Single(fields.Dimensions).Name);
            Assert.Equal(2 * round, Assert.Single(_batch.Ranges).First);
            Assert.Equal(10 * round, _batch.StartedAt);
            Assert.Single(_batch.DeadLetters);
            Assert.Single(_batch.Markers);
            Assert.Equal(2, _batch.Rows);
            _batch.Clear();
        }
    }

    [Fact]
    public void DropRevoked_GoesByWhoWroteAMeasureLast_AndLeavesNoEmptyWindow()
    {
        var (kept, lost) = (TestRows.Partition(0), TestRows.Partition(1));
        _batch.Add(TestRows.Event(1, "a", count: 1, users: 1).At(kept, 0), 0);
        _batch.Add(TestRows.Event(1, "a", count: 2, users: 2).At(lost, 0), 0);
        _batch.Add(TestRows.Event(2, "a", count: 1, users: 1).At(lost, 1), 0);
        _batch.Add(TestRows.Event(2, "a", count: 2).At(kept, 1), 0);
        _batch.Add(TestRows.Event(2, "b", count: 3).At(lost, 2), 0);
        lost.Revoke();

        _batch.DropRevoked();

        var (window, fields) = Assert.Single(_batch.Windows);
        Assert.Equal(2, window.Start);
        var dimension = Assert.Single(fields.Dimensions);
        Assert.Equal(("a", TestRows.Measures(2, null)), (dimension.Name, fields.MeasuresOf(dimension)));
    }

    [Fact]
    public void DropRevoked_RemovesTheDeadLettersAndTheRangeOfTheRevokedPartition()
    {
        var (kept, lost) = (TestRows.Partition(0), TestRows.Partition(1));
        foreach (var partition in new[] { kept, lost })
        {
            _batch.Add(TestRows.Rejected().At(partition, 0), 0);
            _batch.Add(TestRows.Session($"of {partition}", 5).At(partition, 1), 0);
        }

        _batch.DropRevoked();
        Assert.Equal((2, 2, 2), (_batch.Ranges.Count, _batch.DeadLetters.Count, _batch.Sessions.Count));

        lost.Revoke();
        _batch.DropRevoked();
        Assert.Same(kept, Assert.Single(_batch.Ranges).Partition);
        Assert.Same(kept, Assert.Single(_batch.DeadLetters).Partition);
        Assert.Equal(["of event_metrics/0"], _batch.Sessions.Keys);
    }

    [Fact]
    public void RefusedDimension_IsTakenOut_AndItsWindowWhenNothingIsLeftOfIt()
    {
        var partition = TestRows.Partition();
        var (a, b) = (TestRows.Event(1, "a", count: 1), TestRows.Event(1, "b", count: 1));
        _batch.Add(a.At(partition, 0), 0);
        _batch.Add(b.At(partition, 1), 0);
        var window = new WindowKey(MetricType.Event, 1);

        _batch.Refuse(window, a.Dimension!);
        Assert.Equal([b.Dimension!], _batch.Windows[window].Dimensions);
        _batch.Refuse(window, b.Dimension!);
        Assert.Empty(_batch.Windows);
        Assert.Equal([(window, a.Dimension!), (window, b.Dimension!)], _batch.Refused.OrderBy(refused => refused.Dimension.Name));

        _batch.Clear();
        Assert.Empty(_batch.Refused);
    }

    [Fact]
    public void Traces_AreThoseOfTheFirstRows_UpToABound()
    {
        var partition = TestRows.Partition();
        using var receipt = new System.Diagnostics.Activity("receive").Start();
        for (var offset = 0; offset < 100; offset++)
        {
            _batch.Add(TestRows.Event(1, "a", count: 1).At(partition, offset) with { Receipt = offset % 2 == 0 ? receipt : null }, 0);
            Assert.Equal(Math.Min(32, (offset / 2) + 1), _batch.Traces.Count);
        }

        Assert.Equal(receipt.Context, _batch.Traces[0].Context);
        _batch.Clear();
        Assert.Empty(_batch.Traces);
    }

    [Fact]
    public void ClearedBatch_CountsFromZero_AndIsEmptyOnlyWithoutRowsAndMarkers()
    {
        var partition = TestRows.Partition();
        _batch.Add(Row.Skip.At(partition, 4), now: 7);
        Assert.False(_batch.IsEmpty);
        Assert.False(_batch.IsFull(maxWindows: 1));
        _batch.Clear();
        Assert.True(_batch.IsEmpty);
        Assert.Empty(_batch.Ranges);

        _batch.Add(Row.Skip.At(partition, 9), now: 8);
        Assert.Equal((1, 8), (_batch.Rows, _batch.StartedAt));
        Assert.Equal((9, 10), (_batch.Ranges[0].First, _batch.Ranges[0].Next));
    }
}
