using System.Runtime.InteropServices;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// Keeps windows to <c>window_max_dimensions</c>: what would take one further is taken out of the batch. Redis is asked only
/// for a window that may be near its limit, once a batch at most, and never a row: for all others a count is kept that is
/// never too low, but for what other replicas write meanwhile. Used by the flush worker alone.
/// </summary>
internal sealed class DimensionLimit(RedisKeys keys, CacheOptions options)
{
    // Far more than are written at the same time; then all is learned anew.
    private const int MaxWindows = 4096;
    private const int MaxNames = 200_000;

    private readonly Dictionary<WindowKey, Known> _windows = [];
    private readonly int _max = options.WindowMaxDimensions;
    private int _names;

    /// <summary>Takes out of a batch the dimensions that windows have no room for (<see cref="Batch.Refused"/>).</summary>
    /// <exception cref="RedisException">Redis did not answer; the batch is as it was.</exception>
    public async ValueTask ApplyAsync(IDatabase database, Batch batch)
    {
        List<Check>? checks = null;
        foreach (var (window, fields) in batch.Windows)
        {
            if (fields.Count + (_windows.GetValueOrDefault(window)?.Dimensions ?? 0) > _max)
            {
                (checks ??= []).Add(Ask(database, window, fields));
            }
        }

        foreach (var check in checks ?? [])
        {
            await DecideAsync(check, batch);
        }
    }

    /// <summary>Whether a window is written for the first time, as far as is known.</summary>
    public bool IsNew(WindowKey window) => !_windows.ContainsKey(window);

    /// <summary>For a window that is written for the first time: asks, in the pipeline that writes it, how many fields it then has.</summary>
    public void Learn(IBatch pipeline, List<(WindowKey Window, Task<long> Fields)> learned, WindowKey window)
    {
        if (IsNew(window))
        {
            learned.Add((window, pipeline.HashLengthAsync(keys.Window(window))));
        }
    }

    /// <summary>Notes what was written.</summary>
    public void Written(Batch batch, List<(WindowKey Window, Task<long> Fields)> learned)
    {
        if (_windows.Count > MaxWindows || _names > MaxNames)
        {
            _windows.Clear();
            _names = 0;
        }

        foreach (var (window, fields) in batch.Windows)
        {
            // They may all have been there, but nobody looked.
            if (_windows.TryGetValue(window, out var known) && known.Names is null)
            {
                known.Dimensions += fields.Count;
            }
        }

        foreach (var (window, fields) in learned)
        {
            if (fields.IsCompletedSuccessfully)
            {
                _windows[window] = new() { Dimensions = DimensionsOf(fields.Result) };
            }
        }
    }

    /// <summary>A dimension has two fields; a window of ones with one field each takes no more room than that.</summary>
    private static int DimensionsOf(long fields) => (int)Math.Min(int.MaxValue, (fields + 1) / 2);

    /// <summary>Asks for those dimensions that are not known to be there, unless there is room for them all.</summary>
    private Check Ask(IDatabase database, WindowKey window, Dictionary<Dimension, FieldWrite> fields)
    {
        ref var known = ref CollectionsMarshal.GetValueRefOrAddDefault(_windows, window, out _);
        known ??= new();
        var names = known.Names;
        var unknown = fields.Keys.Where(dimension => names?.Contains(dimension) != true).ToArray();
        if (names is not null && known.Dimensions + unknown.Length <= _max)
        {
            return new(window, known, unknown, null, null);
        }

        var key = keys.Window(window);
        var both = new RedisValue[unknown.Length * 2];
        for (var number = 0; number < unknown.Length; number++)
        {
            (both[2 * number], both[(2 * number) + 1]) = (unknown[number].First, unknown[number].Second);
        }

        return new(window, known, unknown, database.HashLengthAsync(key), both.Length == 0 ? null : database.HashGetAsync(key, both));
    }

    private async Task DecideAsync(Check check, Batch batch)
    {
        var (known, unknown) = (check.Known, check.Unknown);
        RedisValue[] there = [];
        try
        {
            known.Dimensions = check.Length is { } length ? DimensionsOf(await length) : known.Dimensions;
            there = check.There is { } values ? await values : there;
        }
        catch (RedisServerException exception) when (RedisErrors.IsWrongType(exception))
        {
            // No window at all, as the write will find.
            return;
        }

        known.Names ??= [];
        for (var number = 0; number < unknown.Length; number++)
        {
            var isThere = there.Length > 0 && !(there[2 * number].IsNull && there[(2 * number) + 1].IsNull);
            if (!isThere && known.Dimensions >= _max)
            {
                batch.Refuse(check.Window, unknown[number]);
                continue;
            }

            known.Dimensions += isThere ? 0 : 1;
            _names += known.Names.Add(unknown[number]) ? 1 : 0;
        }
    }

    private sealed class Known
    {
        /// <summary>How many dimensions the window has, at most.</summary>
        public int Dimensions { get; set; }

        /// <summary>Dimensions that it has for certain; null as long as nobody had to look.</summary>
        public HashSet<Dimension>? Names { get; set; }
    }

    private sealed record Check(WindowKey Window, Known Known, Dimension[] Unknown, Task<long>? Length, Task<RedisValue[]>? There);
}
