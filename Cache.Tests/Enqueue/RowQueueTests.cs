using System.Threading.Channels;
using Cache.Service.Enqueue;
using Cache.Service.Options;
using Cache.Service.Partitions;

namespace Cache.Tests.Enqueue;

public sealed class RowQueueTests
{
    private static readonly QueuedRow AnyRow = TestRows.Event(1, "a", count: 1).At(TestRows.Partition(), 0);

    private readonly RowQueue _queue = new(new CacheOptions { QueueMaxSize = 4 });

    [Fact]
    public void FullQueue_AcceptsNoRow_UntilOneIsTaken()
    {
        Assert.Equal(4, Fill());
        Assert.False(_queue.TryEnqueue(AnyRow));
        Assert.Equal(4, _queue.Count);

        Assert.True(Take());
        Assert.True(_queue.TryEnqueue(AnyRow));
        Assert.False(_queue.TryEnqueue(AnyRow));
    }

    [Fact]
    public void LowWater_IsHalfOfTheQueue()
    {
        Assert.True(_queue.IsAtLowWater);
        Fill();
        Assert.False(_queue.IsAtLowWater);
        Assert.True(Take());
        Assert.False(_queue.IsAtLowWater);
        Assert.True(Take());
        Assert.True(_queue.IsAtLowWater);
    }

    [Fact]
    public void Rows_AreDequeuedAsEnqueued()
    {
        var partition = TestRows.Partition();
        for (var offset = 0; offset < 4; offset++)
        {
            _queue.TryEnqueue(AnyRow with { Partition = partition, Offset = offset, Timestamp = 10 + offset });
        }

        Assert.False(_queue.TryDequeue(out _));
        Assert.True(_queue.HandOver(moreComes: false));
        for (var offset = 0; offset < 4; offset++)
        {
            Assert.True(_queue.TryDequeue(out var row));
            Assert.Equal(AnyRow with { Partition = partition, Offset = offset, Timestamp = 10 + offset }, row);
        }

        Assert.False(_queue.TryDequeue(out _));
    }

    [Fact]
    public void Rows_AreHandedOverInChunks_AndKeepTheirOrder()
    {
        const int Rows = (3 * RowQueue.MaxAtOnce) + 1;
        var queue = new RowQueue(new CacheOptions());
        for (var offset = 0; offset < Rows; offset++)
        {
            Assert.True(queue.TryEnqueue(AnyRow with { Offset = offset }));
        }

        Assert.True(queue.MoreComes);
        for (var offset = 0; offset < Rows - 1; offset++)
        {
            Assert.True(queue.TryDequeue(out var row));
            Assert.Equal(offset, row.Offset);
        }

        Assert.False(queue.TryDequeue(out _));
        Assert.Equal(1, queue.Count);
        queue.HandOver(moreComes: false);
        Assert.True(queue.TryDequeue(out _));
        Assert.False(queue.MoreComes);
    }

    [Fact]
    public void RejectedRows_FillTheQueueByTheirBytes()
    {
        var queue = new RowQueue(new CacheOptions());
        var half = Rejected((int)(RowQueue.MaxRejectedBytes / 2));
        Assert.True(queue.TryEnqueue(half));
        Assert.True(queue.IsAtLowWater);
        Assert.True(queue.TryEnqueue(half));

        Assert.False(queue.TryEnqueue(Rejected(1)));
        Assert.True(queue.TryEnqueue(AnyRow));
        Assert.False(queue.IsAtLowWater);

        queue.HandOver(moreComes: false);
        Assert.True(queue.TryDequeue(out _));
        Assert.True(queue.IsAtLowWater);
        Assert.True(queue.TryEnqueue(Rejected(1)));
    }

    [Fact]
    public void RejectedRows_FillTheQueueByTheirHeadersToo()
    {
        var queue = new RowQueue(new CacheOptions());
        var half = TestRows.Rejected(bytes: 1, headerBytes: (int)(RowQueue.MaxRejectedBytes / 2) - 200).At(TestRows.Partition(), 0);
        Assert.True(queue.TryEnqueue(half));
        Assert.True(queue.TryEnqueue(half));

        Assert.False(queue.TryEnqueue(Rejected(400)));
    }

    [Fact]
    public void RejectedRow_LargerThanTheLimit_IsAcceptedByAnEmptyQueue()
    {
        var queue = new RowQueue(new CacheOptions());
        var huge = Rejected((int)RowQueue.MaxRejectedBytes + 1);

        Assert.True(queue.TryEnqueue(huge));
        Assert.False(queue.TryEnqueue(huge));
        queue.HandOver(moreComes: false);
        Assert.True(queue.TryDequeue(out _));
        Assert.True(queue.TryEnqueue(huge));
    }

    [Fact]
    public async Task Drain_WaitsForTheMarker_WhichComesAfterEveryRow()
    {
        _queue.TryEnqueue(AnyRow);
        _queue.TryEnqueue(AnyRow);
        var drained = _queue.DrainAsync();

        var rows = new List<QueuedRow>();
        while (rows is not [.., { Drained: not null }])
        {
            Assert.True(await _queue.WaitForRowAsync().WaitAsync(TestTimeout.Full));
            while (_queue.TryDequeue(out var row))
            {
                rows.Add(row);
            }
        }

        Assert.Equal(3, rows.Count);
        Assert.False(drained.IsCompleted);
        rows[2].Drained!.SetResult();
        await drained.WaitAsync(TestTimeout.Full);
    }

    /// <param name="most">With 16, the rows fill a pooled array completely.</param>
    [Theory]
    [InlineData(4)]
    [InlineData(16)]
    public async Task Drain_OfAFullQueue_WaitsForItsRows(int most)
    {
        var queue = new RowQueue(new CacheOptions { QueueMaxSize = most });
        while (queue.TryEnqueue(AnyRow))
        {
            // Until it is full.
        }

        var drained = queue.DrainAsync();

        for (var rows = 0; rows < most + 1; rows++)
        {
            Assert.False(drained.IsCompleted);
            Assert.True(queue.TryDequeue(out var row));
            row.Drained?.SetResult();
        }

        await drained.WaitAsync(TestTimeout.Full);
    }

    [Fact]
    public async Task CompletedQueue_ReturnsItsRows_ThenEnds()
    {
        _queue.TryEnqueue(AnyRow);
        _queue.HandOver(moreComes: false);
        _queue.Complete();

        Assert.True(_queue.TryEnqueue(AnyRow));
        Assert.False(_queue.HandOver(moreComes: false));
        await Assert.ThrowsAsync<ChannelClosedException>(() => _queue.DrainAsync());
        Assert.True(await _queue.WaitForRowAsync());
        Assert.True(_queue.TryDequeue(out _));
        Assert.False(await _queue.WaitForRowAsync());
    }

    private static QueuedRow Rejected(int bytes) => TestRows.Rejected(bytes).At(TestRows.Partition(), 0);

    private bool Take()
    {
        _queue.HandOver(moreComes: false);
        return _queue.TryDequeue(out _);
    }

    private int Fill()
    {
        var rows = 0;
        while (_queue.TryEnqueue(AnyRow))
        {
            rows++;
        }

        return rows;
    }
}
