using System.Runtime.InteropServices;
using Cache.Metrics;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// Enforces <c>window_max_dimensions</c>: dimensions beyond the limit are removed from the batch. Redis is asked only about
/// windows that may be near the limit, and at most once per batch, never per row. For all other windows, an upper bound on the
/// number of dimensions is kept; it can be too low only by what other replicas have written since. Used only by the flush worker.
/// </summary>
internal sealed class DimensionLimit(RedisKeys keys, CacheOptions options)
{
    // Far more than are being written at any one time. Beyond that, everything is forgotten and learned again.
    private const int MaxWindows = 4096;
    private const int MaxNames = 200_000;

    private readonly Dictionary<WindowKey, Known> _windows = [];
    private readonly int _max = options.WindowMaxDimensions;
    private int _names;

    /// <summary>Removes the dimensions beyond the limit from a batch (<see cref="Batch.Refused"/>).</summary>
    /// <exception cref="RedisException">Redis did not answer; the batch is unchanged.</exception>
    public async ValueTask ApplyAsync(IDatabase database, Batch batch)
    {
        List<Check>? checks = null;
        foreach (var (window, write) in batch.Windows)
        {
            if (write.Count + (_windows.GetValueOrDefault(window)?.Dimensions ?? 0) > _max)
            {
                (checks ??= []).Add(Ask(database, window, write));
            }
        }

        foreach (var check in checks ?? [])
        {
            await DecideAsync(check, batch);
        }
    }

    /// <summary>Whether this is the first write of a window, as far as this process knows.</summary>
    public bool IsNew(WindowKey window) => !_windows.ContainsKey(window);

    /// <summary>On the first write of a window, adds a query for its number of fields to the pipeline.</summary>
    public void Learn(IBatch pipeline, List<(WindowKey Window, Task<long> Fields)> learned, WindowKey window)
    {
        if (IsNew(window))
        {
            learned.Add((window, pipeline.HashLengthAsync(keys.Window(window))));
        }
    }

    /// <summary>Records what was written.</summary>
    public void Written(Batch batch, List<(WindowKey Window, Task<long> Fields)> learned)
    {
        if (_windows.Count > MaxWindows || _names > MaxNames)
        {
            _windows.Clear();
            _names = 0;
        }

        foreach (var (window, write) in batch.Windows)
        {
            // All of them may have existed already, but nobody checked.
            if (_windows.TryGetValue(window, out var known) && known.Names is null)
            {
                known.Dimensions += write.Count;
            }
        }

        foreach (var (window, fields) in learned)
        {
            if (fields.IsCompletedSuccessfully)
            {
                _windows[window] = new() { Dimensions = DimensionsOf(window.Type, fields.Result) };
            }
        }
    }

    /// <summary>Counts as many fields as the type has measures as one dimension; one that has fewer takes up less space.</summary>
    public static int DimensionsOf(MetricType type, long fields)
    {
        var measures = type.Measures.Count;
        return (int)Math.Min(int.MaxValue, (fields + measures - 1) / measures);
    }

    /// <summary>Asks which of the dimensions not known to exist do exist, unless all of them fit anyway.</summary>
    private Check Ask(IDatabase database, WindowKey window, WindowWrite write)
    {
        ref var known = ref CollectionsMarshal.GetValueRefOrAddDefault(_windows, window, out _);
        known ??= new();
        var names = known.Names;
        var unknown = write.Dimensions.Where(dimension => names?.Contains(dimension) != true).ToArray();
        if (names is not null && known.Dimensions + unknown.Length <= _max)
        {
            return new(window, known, unknown, null, null);
        }

        var key = keys.Window(window);
        var measures = window.Type.Measures.Count;
        var all = new RedisValue[unknown.Length * measures];
        for (var number = 0; number < unknown.Length; number++)
        {
            unknown[number].Fields.CopyTo(all.AsSpan(number * measures));
        }

        return new(window, known, unknown, database.HashLengthAsync(key), all.Length == 0 ? null : database.HashGetAsync(key, all));
    }

    private async Task DecideAsync(Check check, Batch batch)
    {
        var (known, unknown) = (check.Known, check.Unknown);
        RedisValue[] values = [];
        try
        {
            known.Dimensions = check.Length is { } length ? DimensionsOf(check.Window.Type, await length) : known.Dimensions;
            values = check.Values is { } read ? await read : values;
        }
        catch (RedisServerException exception) when (RedisErrors.IsWrongType(exception))
        {
            // Not a window: the write will report it.
            return;
        }

        known.Names ??= [];
        var measures = check.Window.Type.Measures.Count;
        for (var number = 0; number < unknown.Length; number++)
        {
            var exists = values.Length > 0 && !Array.TrueForAll(values[(number * measures)..((number + 1) * measures)], value => value.IsNull);
            if (!exists && known.Dimensions >= _max)
            {
                batch.Refuse(check.Window, unknown[number]);
                continue;
            }

            known.Dimensions += exists ? 0 : 1;
            _names += known.Names.Add(unknown[number]) ? 1 : 0;
        }
    }

    private sealed class Known
    {
        /// <summary>Upper bound on the window's number of dimensions.</summary>
        public int Dimensions { get; set; }

        /// <summary>Dimensions known to exist; null until Redis is first asked.</summary>
        public HashSet<Dimension>? Names { get; set; }
    }

    private sealed record Check(WindowKey Window, Known Known, Dimension[] Unknown, Task<long>? Length, Task<RedisValue[]>? Values);
}
