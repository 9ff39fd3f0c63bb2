using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Service.Model;
using Cache.Tests.Simulation;
using Confluent.Kafka;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

/// <summary>When <see cref="PacedRows"/> pauses before it takes rows, by a clock and a source of the test.</summary>
public sealed class PacedRowsTests
{
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(4);
    private static readonly TimeSpan Wait = TimeSpan.FromMilliseconds(100);

    private readonly FakeTimeProvider _time = new();
    private readonly ScriptedRows _source = new();
    private readonly List<TimeSpan> _pauses = [];
    private readonly PacedRows _rows;

    public PacedRowsTests() => _rows = new(_source, Pace, Pause, _time);

    [Fact]
    public void FirstRows_AreTakenAtOnce()
    {
        Turn(rows: 1, after: 0);
        Turn(rows: 1, after: 1);

        Assert.Empty(_pauses);
    }

    [Fact]
    public void RowsThatKeepComing_AreTakenAtThePace()
    {
        for (var turn = 0; turn < 10; turn++)
        {
            Turn(rows: 1, after: 1);
        }

        Assert.Equal(Enumerable.Repeat(Pace, 8), _pauses);
    }

    [Theory]
    [InlineData(11, 8)]
    [InlineData(12, 0)]
    public void RowsFarApart_AreTakenAtOnce(int ms, int pauses)
    {
        var began = _time.GetTimestamp();
        for (var turn = 0; turn < 10; turn++)
        {
            Turn(rows: 1, at: began + _time.TimestampFrequency * ms * turn / 1000);
        }

        Assert.Equal(pauses, _pauses.Count);
    }

    [Fact]
    public void RowAfterABreak_IsTakenAtOnce()
    {
        for (var turn = 0; turn < 5; turn++)
        {
            Turn(rows: 1, after: 1);
        }

        _pauses.Clear();
        Turn(rows: 0, after: 100);
        Turn(rows: 1, after: 0);
        Turn(rows: 1, after: 1);

        // The first of the three finds out that there is a break.
        Assert.Single(_pauses);
    }

    [Fact]
    public void Backlog_IsTakenWithoutPause()
    {
        for (var turn = 0; turn < 10; turn++)
        {
            Turn(RowQueue.MaxAtOnce, after: 1);
        }

        Assert.Empty(_pauses);
    }

    [Fact]
    public void EndsOfPartitions_AreNoRows()
    {
        for (var turn = 0; turn < 10; turn++)
        {
            Turn(rows: 1, after: 1, isEnd: true);
        }

        Assert.Empty(_pauses);
    }

    [Fact]
    public void RowsThatAreAtHand_AreNotWaitedFor()
    {
        for (var turn = 0; turn < 5; turn++)
        {
            Turn(rows: 3, after: 1);
        }

        // Before the first row of a turn only.
        Assert.Equal(3, _pauses.Count);
    }

    [Fact]
    public void Rest_IsTheSources()
    {
        _source.Next.Enqueue(new("t", 1, 2, 3, Row.Skip));

        Assert.True(_rows.TryTake(Wait, out var received));
        Assert.Equal(("t", 1, 2L, 3L), (received.Topic, received.Partition, received.Offset, received.Timestamp));
        Assert.False(_rows.TryTake(Wait, out _));
        Assert.Same(_source.Consumer, _rows.Consumer);
        Assert.True(_rows.TakesBatches);
        Assert.True(_rows.HasMore);
        _rows.End();
        Assert.True(_source.HasEnded);
    }

    private void Pause(TimeSpan span)
    {
        _pauses.Add(span);
        _time.Advance(span);
    }

    /// <summary>One turn of the consume loop, whose rows come a while after it has begun to wait.</summary>
    private void Turn(int rows, int after, bool isEnd = false) => Turn(rows, () => _time.Advance(TimeSpan.FromMilliseconds(after)), isEnd);

    /// <summary>One turn of the consume loop, whose rows come at a certain time.</summary>
    private void Turn(int rows, long at) => Turn(rows, () => _time.Advance(new TimeSpan(Math.Max(0, _time.GetElapsedTime(_time.GetTimestamp(), at).Ticks))));

    private void Turn(int rows, Action come, bool isEnd = false)
    {
        _source.BeforeNext = come;
        for (var row = 0; row < rows; row++)
        {
            _source.Next.Enqueue(new("t", 0, row, 0, Row.Skip, IsEnd: isEnd));
        }

        var wait = Wait;
        while (_rows.TryTake(wait, out _) && _source.Next.Count > 0)
        {
            wait = TimeSpan.Zero;
        }
    }

    private sealed class ScriptedRows : IRowSource
    {
        public Queue<Received> Next { get; } = [];

        public Action? BeforeNext { get; set; }

        public bool HasEnded { get; private set; }

        public IConsumer<RowKey, Row> Consumer { get; } = Proxy.Of<IConsumer<RowKey, Row>>((_, _) => null);

        public bool TakesBatches => true;

        public bool HasMore => true;

        public bool TryTake(TimeSpan wait, out Received received)
        {
            BeforeNext?.Invoke();
            BeforeNext = null;
            return Next.TryDequeue(out received);
        }

        public void End() => HasEnded = true;
    }
}
