namespace Cache.Service.Model;

/// <summary>
/// A decoded row: its window, dimension and measures. Most rows belong to windows of few measures, so everything else shares one
/// reference for what it carries.
/// </summary>
public readonly struct Row
{
    private readonly byte _present;
    private readonly long _first;
    private readonly long _second;
    private readonly object? _other;

    private Row(RowKind kind, RejectReason reason, long windowStart, Dimension? dimension, Measures measures, object? other)
    {
        Kind = kind;
        Reason = reason;
        WindowStart = windowStart;
        Dimension = dimension;
        (_first, _second, _present, var more) = measures.Parts();
        _other = more ?? other;
    }

    /// <summary>The kind of row.</summary>
    public RowKind Kind { get; }

    /// <summary>Why the row was rejected; <see cref="RejectReason.None"/> for any other kind.</summary>
    public RejectReason Reason { get; }

    /// <summary>Start of the window, milliseconds since 1970 UTC.</summary>
    public long WindowStart { get; }

    /// <summary>The dimension, which knows the metric type; null unless the row belongs to a window.</summary>
    public Dimension? Dimension { get; }

    /// <summary>The row's measures, at least one; none unless the row belongs to a window.</summary>
    public Measures Measures => Measures.From(_first, _second, _present, _other as long[]);

    /// <summary>The original bytes of a rejected row; null until they are copied.</summary>
    public RejectedRow? Rejected => _other as RejectedRow;

    /// <summary>The session; null unless the row belongs to one.</summary>
    public Session? Session => _other as Session;

    /// <summary>The id of the schema; only if the row awaits one.</summary>
    public int SchemaId => (int)WindowStart;

    /// <summary>The window; only if the row belongs to one.</summary>
    internal WindowKey Key => new(Dimension!.Type, WindowStart);

    /// <summary>A row with nothing to write.</summary>
    public static Row Skip => default;

    /// <summary>A row of a topic without a type.</summary>
    public static Row WithoutType { get; } = new(RowKind.WithoutType, RejectReason.None, 0, null, default, null);

    /// <summary>A row of a window.</summary>
    public static Row Window(long windowStart, Dimension dimension, Measures measures) =>
        new(RowKind.Window, RejectReason.None, windowStart, dimension, measures, null);

    /// <summary>A row of a session.</summary>
    public static Row Of(Session session) => new(RowKind.Session, RejectReason.None, 0, null, default, session);

    /// <summary>A row whose schema has to be fetched before it can be decoded.</summary>
    public static Row AwaitsSchema(int schemaId) => new(RowKind.AwaitsSchema, RejectReason.None, schemaId, null, default, null);

    /// <summary>A rejected row.</summary>
    public static Row Reject(RejectReason reason, RejectedRow? rejected = null) =>
        new(RowKind.Rejected, reason, 0, null, default, rejected);
}

/// <summary>Placeholder for the key, which is not decoded: only rejected rows need the bytes of their key.</summary>
public readonly struct RowKey;
