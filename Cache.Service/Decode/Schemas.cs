using System.Collections.Concurrent;

namespace Cache.Service.Decode;

/// <summary>
/// The schemas that have been fetched, by id. Looking one up never waits: it happens inside the Kafka client. Safe to use from any
/// thread.
/// </summary>
internal sealed class Schemas(TimeProvider time)
{
    /// <summary>How long a schema counts as unknown: it may be registered a moment after its first row.</summary>
    public static readonly TimeSpan UnknownFor = TimeSpan.FromSeconds(30);

    // Far more than topics have; those beyond are fetched again. Unknown ids are counted separately: any row can make one up.
    private const int Max = 1000;

    private readonly ConcurrentDictionary<int, RowSchema> _known = new();
    private readonly ConcurrentDictionary<int, long> _unknownSince = new();

    /// <summary>The schema of that id; null if it has to be fetched.</summary>
    public RowSchema? Find(int id) =>
        _known.TryGetValue(id, out var schema) ? schema
        : _unknownSince.TryGetValue(id, out var since) && time.GetElapsedTime(since) < UnknownFor ? RowSchema.Unknown
        : null;

    /// <summary>Adds what the registry answered.</summary>
    public void Add(int id, RowSchema schema)
    {
        if (schema.Format == SchemaFormat.Unknown)
        {
            MakeRoom(_unknownSince);
            _unknownSince[id] = time.GetTimestamp();
            return;
        }

        MakeRoom(_known);
        _known[id] = schema;
    }

    private static void MakeRoom<T>(ConcurrentDictionary<int, T> schemas)
    {
        if (schemas.Count >= Max)
        {
            schemas.Clear();
        }
    }
}
