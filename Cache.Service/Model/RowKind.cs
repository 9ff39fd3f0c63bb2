namespace Cache.Service.Model;

/// <summary>The kind of a row.</summary>
public enum RowKind : byte
{
    /// <summary>Nothing to write: a tombstone.</summary>
    Skipped,

    /// <summary>A dimension of a window.</summary>
    Window,

    /// <summary>A session.</summary>
    Session,

    /// <summary>Rejected; its bytes go to the dead-letter topic.</summary>
    Rejected,

    /// <summary>Nothing to write: its topic has no type, or more than one.</summary>
    WithoutType,

    /// <summary>Not decoded yet: the schema that its value names has to be fetched first.</summary>
    AwaitsSchema,
}
