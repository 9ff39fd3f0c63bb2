namespace Cache.Service.Telemetry;

/// <summary>Rows of one topic; written by the consume loop alone, and cheap enough to count each row.</summary>
internal sealed class RowCounter
{
    private long _value;
    private long _missed;

    /// <summary>Rows consumed.</summary>
    public long Value => Volatile.Read(ref _value);

    /// <summary>Rows that Kafka deleted before they were read.</summary>
    public long Missed => Volatile.Read(ref _missed);

    /// <summary>Counts a row.</summary>
    public void Increment() => Volatile.Write(ref _value, _value + 1);

    /// <summary>Counts rows that Kafka deleted.</summary>
    public void Miss(long rows) => Volatile.Write(ref _missed, _missed + rows);
}
