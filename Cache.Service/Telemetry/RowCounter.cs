namespace Cache.Service.Telemetry;

/// <summary>Counts the rows of one topic. Written only by the consume loop, so it is cheap enough to update per row.</summary>
internal sealed class RowCounter
{
    private long _value;
    private long _missed;

    /// <summary>Rows consumed.</summary>
    public long Value => Volatile.Read(ref _value);

    /// <summary>Rows that Kafka deleted before they were read.</summary>
    public long Missed => Volatile.Read(ref _missed);

    /// <summary>Counts a consumed row.</summary>
    public void Increment() => Volatile.Write(ref _value, _value + 1);

    /// <summary>Counts rows that Kafka deleted before they were read.</summary>
    public void Miss(long rows) => Volatile.Write(ref _missed, _missed + rows);
}
