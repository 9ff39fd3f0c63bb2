using System.Collections.Concurrent;

namespace Cache.Service.Http.Streaming;

/// <summary>
/// Selects what a stream sends. Streams with the same parameters share a filter, which processes each update once for all of them.
/// </summary>
internal sealed class StreamFilter
{
    // Streams with the same filter are at about the same position. A large event is kept for as long as a stream sends it.
    private const int KeptFrames = 64;
    private const int MaxKeptBytes = 4096;

    private readonly string[] _types;
    private readonly DimensionFilter? _dimensions;
    private readonly Picked?[] _frames = new Picked?[KeptFrames];
    private Large? _large;

    private StreamFilter(string[] types, DimensionFilter? dimensions) => (_types, _dimensions) = (types, dimensions);

    /// <summary>Creates a filter; no types, or no dimensions, means all.</summary>
    public static StreamFilter Of(string[] types, string? dimensions) => new(types, DimensionFilter.Of(dimensions));

    /// <summary>The event to send; empty if the filter selects nothing of the update.</summary>
    public ReadOnlyMemory<byte> Apply(Update update)
    {
        if (_types.Length > 0 && !_types.Contains(update.Type))
        {
            return default;
        }

        if (_dimensions is null)
        {
            return update.Frame;
        }

        ref var kept = ref _frames[update.Number % KeptFrames];
        if (Volatile.Read(ref kept) is { } picked && picked.Number == update.Number)
        {
            return picked.Frame;
        }

        if (Volatile.Read(ref _large) is { } large && large.Number == update.Number && large.Frame.TryGetTarget(out var whole))
        {
            return whole;
        }

        var frame = update.FrameOf(_dimensions);
        if (frame.Length <= MaxKeptBytes)
        {
            Volatile.Write(ref kept, new(update.Number, frame));
        }
        else
        {
            Volatile.Write(ref _large, new(update.Number, new(frame)));
        }

        return frame;
    }

    private sealed record Picked(long Number, byte[] Frame);

    private sealed record Large(long Number, WeakReference<byte[]> Frame);
}

/// <summary>The filters of the open streams.</summary>
internal sealed class StreamFilters
{
    private readonly ConcurrentDictionary<string, WeakReference<StreamFilter>> _known = new();

    /// <summary>Gets the filter for a stream; the same instance for the same parameters.</summary>
    public StreamFilter Of(string[] types, string? dimensions)
    {
        var key = $"{string.Join(',', types)}\n{dimensions}";
        if (_known.TryGetValue(key, out var reference) && reference.TryGetTarget(out var filter))
        {
            return filter;
        }

        // Filters whose streams have all closed are removed when a new one is added.
        foreach (var (old, weak) in _known)
        {
            if (!weak.TryGetTarget(out _))
            {
                _known.TryRemove(new(old, weak));
            }
        }

        filter = StreamFilter.Of(types, dimensions);
        _known[key] = new(filter);
        return filter;
    }
}
