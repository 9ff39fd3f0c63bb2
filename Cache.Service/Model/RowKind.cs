namespace Cache.Service.Model;

/// <summary>The kind of a row.</summary>
public enum RowKind : byte
{
    /// <summary>Nothing to write: a tombstone, or a row of an unknown topic.</summary>
    Skipped,

    /// <summary>A dimension of an event window.</summary>
    Event,

    /// <summary>A dimension of a performance window.</summary>
    Performance,

    /// <summary>A session.</summary>
    Session,

    /// <summary>Rejected; its bytes go to the dead-letter topic.</summary>
    Rejected,
}
