namespace Cache.Producer.Simulator;

/// <summary>What is unusual about a row.</summary>
[Flags]
public enum RowTraits
{
    /// <summary>An ordinary row.</summary>
    None = 0,

    /// <summary>Belongs to a window 1 to 10 windows back.</summary>
    Late = 1,

    /// <summary>Repeats the last well-formed row, byte for byte.</summary>
    Repeated = 2,

    /// <summary>Sent up to 10 rows late.</summary>
    OutOfOrder = 4,

    /// <summary>Violates a rule of the format; the service must reject it.</summary>
    Malformed = 8,
}

/// <summary>One row for Kafka.</summary>
/// <param name="Topic">Its topic.</param>
/// <param name="Key">Its key: the dimension, or the session id.</param>
/// <param name="Value">Its value: JSON, unless <see cref="RowTraits.Malformed"/>.</param>
/// <param name="Traits">What is unusual about it.</param>
public readonly record struct Row(string Topic, string Key, byte[] Value, RowTraits Traits);
