using System.Threading.Channels;
using Cache.Service;
using Cache.Service.Enqueue;

namespace Cache.Tests.Enqueue;

public sealed class RowQueueTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private static readonly QueuedRow AnyRow = TestRows.Event(1, "a", count: 1).At(TestRows.Partition(), 0);

    private readonly RowQueue _queue = new(new CacheOptions { QueueMaxSize = 4 });

    [Fact]
    public void FullQueue_TakesNoMore_UntilOneIsTaken()
    {
        Assert.Equal(4, Fill());
        Assert.False(_queue.TryEnqueue(AnyRow));
        Assert.Equal(4, _queue.Count);

        Assert.True(_queue.TryDequeue(out _));
        Assert.True(_queue.TryEnqueue(AnyRow));
        Assert.False(_queue.TryEnqueue(AnyRow));
    }

    [Fact]
    public void LowWater_IsHalfOfTheQueue()
    {
        Assert.True(_queue.IsAtLowWater);
        Fill();
        Assert.False(_queue.IsAtLowWater);
        _queue.TryDequeue(out _);
        Assert.False(_queue.IsAtLowWater);
        _queue.TryDequeue(out _);
        Assert.True(_queue.IsAtLowWater);
    }

    [Fact]
    public void Rows_ComeOutAsTheyWentIn()
    {
        var partition = TestRows.Partition();
        for (var offset = 0; offset < 4; offset++)
        {
            _queue.TryEnqueue(AnyRow with { Partition = partition, Offset = offset, Timestamp = 10 + offset });
        }

        for (var offset = 0; offset < 4; offset++)
        {
            Assert.True(_queue.TryDequeue(out var row));
            Assert.Equal(AnyRow with { Partition = partition, Offset = offset, Timestamp = 10 + offset }, row);
        }

        Assert.False(_queue.TryDequeue(out _));
    }

    [Fact]
    public void RejectedRows_FillTheQueueByTheirBytes()
    {
        var queue = new RowQueue(new CacheOptions());
        var half = Rejected((int)(RowQueue.MostRejectedBytes / 2));
        Assert.True(queue.TryEnqueue(half));
        Assert.True(queue.IsAtLowWater);
        Assert.True(queue.TryEnqueue(half));

        Assert.False(queue.TryEnqueue(Rejected(1)));
        Assert.True(queue.TryEnqueue(AnyRow));
        Assert.False(queue.IsAtLowWater);

        queue.TryDequeue(out _);
        Assert.True(queue.IsAtLowWater);
        Assert.True(queue.TryEnqueue(Rejected(1)));
    }

    [Fact]
    public void RejectedRow_LargerThanAllThatIsAllowed_StillPassesAlone()
    {
        var queue = new RowQueue(new CacheOptions());
        var huge = Rejected((int)RowQueue.MostRejectedBytes + 1);

        Assert.True(queue.TryEnqueue(huge));
        Assert.False(queue.TryEnqueue(huge));
        queue.TryDequeue(out _);
        Assert.True(queue.TryEnqueue(huge));
    }

    [Fact]
    public async Task Drain_WaitsForTheMarker_WhichComesAfterEveryRow()
    {
        _queue.TryEnqueue(AnyRow);
        _queue.TryEnqueue(AnyRow);
        var drained = _queue.DrainAsync(CancellationToken.None);

        var rows = new List<QueuedRow>();
        while (rows is not [.., { Drained: not null }])
        {
            Assert.True(await _queue.WaitForRowAsync().WaitAsync(Patience));
            while (_queue.TryDequeue(out var row))
            {
                rows.Add(row);
            }
        }

        Assert.Equal(3, rows.Count);
        Assert.False(drained.IsCompleted);
        rows[2].Drained!.SetResult();
        await drained.WaitAsync(Patience);
    }

    [Fact]
    public async Task Drain_OfAFullQueue_WaitsNoLongerThanItsCaller()
    {
        Fill();
        using var patience = new CancellationTokenSource();
        var drained = _queue.DrainAsync(patience.Token);
        await patience.CancelAsync();
        await Assert.ThrowsAsync<OperationCanceledException>(() => drained.WaitAsync(Patience));
        Assert.Equal(4, _queue.Count);
    }

    [Fact]
    public async Task Drain_OfAFullQueue_WaitsForRoom()
    {
        Fill();
        var drained = _queue.DrainAsync(CancellationToken.None);

        for (var rows = 0; rows < 5; rows++)
        {
            Assert.True(await _queue.WaitForRowAsync().WaitAsync(Patience));
            _queue.TryDequeue(out var row);
            row.Drained?.SetResult();
        }

        await drained.WaitAsync(Patience);
    }

    [Fact]
    public async Task CompletedQueue_GivesWhatItHas_ThenEnds()
    {
        _queue.TryEnqueue(AnyRow);
        _queue.Complete();

        Assert.False(_queue.TryEnqueue(AnyRow));
        await Assert.ThrowsAsync<ChannelClosedException>(() => _queue.DrainAsync(CancellationToken.None));
        Assert.True(await _queue.WaitForRowAsync());
        Assert.True(_queue.TryDequeue(out _));
        Assert.False(await _queue.WaitForRowAsync());
    }

    private static QueuedRow Rejected(int bytes) => TestRows.Rejected(bytes).At(TestRows.Partition(), 0);

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
