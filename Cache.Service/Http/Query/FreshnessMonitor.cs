using System.Diagnostics.Metrics;
using Cache.Metrics;
using Cache.Service.Hosting;
using Cache.Service.Options;
using Cache.Service.Persist;
using Cache.Service.Telemetry;
using StackExchange.Redis;

namespace Cache.Service.Http.Query;

/// <summary>
/// Knows the newest windows of each metric type from its index in Redis, so that every replica does, also one without partitions
/// or one that has just started. While Redis does not answer, it keeps the last ones it knows, and their age grows.
/// </summary>
internal sealed class FreshnessMonitor : Worker
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    // An index is read after an update to its type. Windows that expire, or a Redis that is emptied, send none.
    private static readonly TimeSpan MaxReadAge = TimeSpan.FromSeconds(5);

    private readonly RedisConnection _redis;
    private readonly RedisKeys _keys;
    private readonly UpdateHub _hub;
    private readonly Known[] _known;

    public FreshnessMonitor(
        RedisConnection redis, RedisKeys keys, CacheOptions options, UpdateHub hub, IMeterFactory meters, TimeProvider time, FatalError fatal, ILogger<FreshnessMonitor> logger)
        : base(fatal, time, logger)
    {
        (_redis, _keys, _hub) = (redis, keys, hub);
        _known = [.. options.MetricTypes.Select(type => new Known(type))];
        var meter = ServiceMeter.Of(meters);
        meter.CreateObservableGauge("cache.window.age", () => Current.Where(type => type.AgeSeconds is not null).Select(type => Measure(type.Type, type.AgeSeconds!.Value)),
            unit: "s", description: "Time since the newest window started.");
        meter.CreateObservableGauge("cache.window.fresh", () => Current.Select(type => Measure(type.Type, type.Fresh ? 1 : 0)),
            description: "1 if the newest window started less than two window lengths and a minute ago, else 0.");
        meter.CreateObservableGauge("cache.windows.held", () => _known.Select(known => Measure(known.Type.Name, known.Windows)), description: "Windows in Redis.");
        meter.CreateObservableGauge("cache.window.dimensions", () => _known.Select(known => Measure(known.Type.Name, known.Dimensions)),
            description: "Dimensions of the newest window.");

        static Measurement<T> Measure<T>(string type, T value)
            where T : struct => new(value, new KeyValuePair<string, object?>("type", type));
    }

    /// <summary>The freshness of each metric type now, in the order of the configuration.</summary>
    public IEnumerable<Freshness> Current => At(Time.GetUtcNow());

    /// <summary>The freshness of each metric type, in the order of the configuration.</summary>
    public IEnumerable<Freshness> At(DateTimeOffset now) => _known.Select(known => Freshness.Of(known.Type, known.Starts, now));

    /// <inheritdoc/>
    protected internal override async Task RunAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, Time);
        do
        {
            await Task.WhenAll(_known.Where(IsDue).Select(known => ReadAsync(known, stoppingToken)));
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    private bool IsDue(Known known) => known.LastUpdate != _hub.Latest.Of(known.Type) || Time.GetElapsedTime(known.ReadAt) >= MaxReadAge;

    /// <summary>
    /// Reads the index, but not whether its hashes are still there, and the size of the newest one: small commands, on the connection
    /// that no large answer blocks.
    /// </summary>
    private async Task ReadAsync(Known known, CancellationToken stoppingToken)
    {
        // Noted before the read, so that changes during the read are not missed.
        var (lastUpdate, readAt) = (_hub.Latest.Of(known.Type), Time.GetTimestamp());
        try
        {
            var database = await _redis.GetAsync(stoppingToken);
            var index = _keys.Index(known.Type);
            var members = database.SortedSetRangeByRankAsync(index, 0, Freshness.MaxWindows - 1, Order.Descending);
            var windows = database.SortedSetLengthAsync(index);
            await Task.WhenAll(members, windows).WaitAsync(stoppingToken);
            known.Starts = [.. members.Result.Where(member => member.TryParse(out long _)).Select(member => (long)member)];
            (known.Windows, known.LastUpdate, known.ReadAt) = (windows.Result, lastUpdate, readAt);
            known.Dimensions = known.Starts is [var newest, ..]
                ? DimensionLimit.DimensionsOf(known.Type, await database.HashLengthAsync(_keys.Window(known.Type, newest)).WaitAsync(stoppingToken))
                : 0;
        }
        catch (Exception exception) when (RedisErrors.IsUnavailable(exception))
        {
            // Readiness reports it; the next attempt follows within a second.
        }
    }

    /// <summary>What was read of a metric type. Only <see cref="Starts"/>, <see cref="Windows"/> and <see cref="Dimensions"/> are used by other threads.</summary>
    private sealed class Known(MetricType type)
    {
        private volatile long[] _starts = [];
        private volatile int _dimensions;
        private long _windows;

        public MetricType Type => type;

        /// <summary>The starts of the newest windows, newest first.</summary>
        public long[] Starts
        {
            get => _starts;
            set => _starts = value;
        }

        /// <summary>How many windows there are.</summary>
        public long Windows
        {
            get => Volatile.Read(ref _windows);
            set => Volatile.Write(ref _windows, value);
        }

        /// <summary>How many dimensions the newest window has, counted as <c>window_max_dimensions</c> does.</summary>
        public int Dimensions
        {
            get => _dimensions;
            set => _dimensions = value;
        }

        /// <summary>The number of the last update before the read; at first none, so that it is due.</summary>
        public long LastUpdate { get; set; } = -1;

        /// <summary>When the read began, as a timestamp.</summary>
        public long ReadAt { get; set; }
    }
}
