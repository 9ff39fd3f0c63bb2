using System.Globalization;
using System.Text;
using Cache.Metrics;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Cache.Producer.Simulator;

/// <summary>
/// What the simulator sends, how much of it and how fast. Keys are flat and snake_case (<c>rate</c>). Each can also have the
/// prefix <c>simulator_</c>, and then wins, because a bare <c>rate</c> is too general a name for a shared environment.
/// </summary>
public sealed class SimulatorOptions
{
    /// <summary>The prefix with which every key is looked up first.</summary>
    public const string Prefix = "simulator_";

    /// <summary>As a file: standard input.</summary>
    public const string StandardInput = "-";

    /// <summary>The longest dimension that the service accepts, in bytes of UTF-8.</summary>
    public const int MaxDimensionBytes = 128;

    private static readonly string[] TimeFormats =
        ["yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK", "yyyy-MM-dd'T'HH:mmK", "yyyy-MM-dd HH:mm:ss.FFFFFFFK", "yyyy-MM-dd"];

    private static readonly DateTimeOffset LatestStart = new(2999, 12, 31, 0, 0, 0, TimeSpan.Zero);

    /// <summary>
    /// Rows per second, 0.001 to 1,000,000; 0 means as fast as the broker accepts them. Default 20; for a file that is not looped, 0.
    /// </summary>
    public double Rate { get; init; } = 20;

    /// <summary>Rows to send, of all kinds, before it stops; 0 means no limit. Default 0.</summary>
    public long Count { get; init; }

    /// <summary>Makes the rows reproducible, 0 to 2,147,483,647. Default null: a random one, which is printed.</summary>
    public int? Seed { get; init; }

    /// <summary>
    /// Time of the first row, 1970 to 2999. Default null: 2025-01-01T00:00:00Z with a seed, so that two runs send the same rows;
    /// otherwise the time at which sending starts.
    /// </summary>
    public DateTimeOffset? Start { get; init; }

    /// <summary>Length of a window in seconds, 1 to 86,400, unless its type has one. Default 5.</summary>
    public int WindowSeconds { get; init; } = 5;

    /// <summary>
    /// The metric types whose rows are sent, in turn: distinct, each with a topic by name. Those given as <c>metric_types</c>, in the
    /// form that the service reads, can be among them. Default event and performance.
    /// </summary>
    public IReadOnlyList<MetricType> Types { get; init; } = MetricType.Defaults;

    /// <summary>Dimensions of <c>event_metrics</c>: distinct, 1 to 128 bytes of UTF-8, no control characters.</summary>
    public IReadOnlyList<string> EventTypes { get; init; } = ["page_view", "click", "add_to_cart", "purchase"];

    /// <summary>Dimensions of <c>performance_metrics</c>, with the same rules as <see cref="EventTypes"/>.</summary>
    public IReadOnlyList<string> DeviceCategories { get; init; } = ["Desktop", "Mobile", "Tablet"];

    /// <summary>Share of rows, 0 to 1, that belong to a window 1 to 10 windows back. Default 0.</summary>
    public double LateShare { get; init; }

    /// <summary>Share of rows, 0 to 1, that repeat the last well-formed row. Default 0.</summary>
    public double RepeatShare { get; init; }

    /// <summary>
    /// Share of rows, 0 to 1, that are swapped with one up to 10 rows later. Default 0. A swap takes two rows, so anything above
    /// 0.5 has the effect of 0.5.
    /// </summary>
    public double OutOfOrderShare { get; init; }

    /// <summary>Share of rows, 0 to 1, that violate a rule of the format. Default 0.</summary>
    public double MalformedShare { get; init; }

    /// <summary>Whether every fifth row goes to <c>session_metrics</c>. Default false.</summary>
    public bool Sessions { get; init; }

    /// <summary>The topics that rows are sent to, those of sessions last.</summary>
    public IReadOnlyList<string> Topics => [.. Types.Select(SimulatorTypes.TopicOf).OfType<string>(), .. Sessions ? [RowGenerator.SessionTopic] : Array.Empty<string>()];

    /// <summary>Partitions of the topics that the simulator creates if they are missing, 1 to 10,000. Default 6.</summary>
    public int Partitions { get; init; } = 6;

    /// <summary>The file whose rows are sent instead of made-up ones; <see cref="StandardInput"/> for standard input. Default null.</summary>
    public string? File { get; init; }

    /// <summary>The topic of rows in the file that do not name one. Default null: that of the metric type whose fields they have.</summary>
    public string? Topic { get; init; }

    /// <summary>Whether the file is sent again and again. Default false.</summary>
    public bool Loop { get; init; }

    /// <summary>Whether all times in the file are moved by the same distance, so that its newest window is the one of now. Default false.</summary>
    public bool Shift { get; init; }

    /// <summary>The metric types that rows in the file may have: those of <see cref="Types"/> if they are given, otherwise all that are known.</summary>
    public IReadOnlyList<MetricType> FileTypes { get; init; } = MetricType.Defaults;

    /// <summary>Whether only warnings and errors are printed. Default false.</summary>
    public bool Quiet { get; init; }

    /// <summary>
    /// Kafka's addresses, <c>host:port[,host:port…]</c>: <c>ConnectionStrings:kafka</c>, otherwise <c>kafka_bootstrap_servers</c>.
    /// Default kafka1:19092.
    /// </summary>
    public string BootstrapServers { get; init; } = "kafka1:19092";

    /// <summary>Client properties from <c>ConnectionStrings:kafka</c>; those in the section <c>Kafka:</c> override them.</summary>
    public IReadOnlyDictionary<string, string> KafkaProperties { get; init; } = new Dictionary<string, string>();

    /// <summary>Environment variables with the prefix that are no key.</summary>
    public IReadOnlyList<string> UnknownVariables { get; init; } = [];

    /// <summary>Reads and validates every key.</summary>
    /// <exception cref="ConfigurationException">At least one key is invalid; the message lists them all.</exception>
    public static SimulatorOptions Read(IConfigurationRoot configuration)
    {
        const string Share = "it must be a share from 0 to 1, such as 0.05 (default 0).";
        var defaults = new SimulatorOptions();
        var keys = new FlatKeys(configuration, Prefix);
        var connection = configuration.GetConnectionString("kafka");
        var kafka = string.IsNullOrWhiteSpace(connection) ? null : KafkaConnectionString.Read(connection.Trim(), keys.Errors);
        var sessions = keys.Flag("sessions");
        var file = FileSettings.Read(keys);
        var options = new SimulatorOptions
        {
            Rate = keys.Value<double>("rate", file is { Path: not null, Loop: false } ? 0 : defaults.Rate, TryRate,
                Invariant($"it must be 0 (as fast as the broker takes them) or 0.001 to 1000000 rows per second (default {defaults.Rate}; 0 for a file).")),
            Count = keys.Number("count", defaults.Count, 0, long.MaxValue),
            Seed = keys.Value<int?>("seed", defaults.Seed, TrySeed, Invariant($"it must be a whole number from 0 to {int.MaxValue} (default: a random one).")),
            Start = keys.Value<DateTimeOffset?>("start", defaults.Start, TryTime,
                "it must be a time from 1970 to 2999, as 2025-01-01T00:00:00Z or epoch milliseconds (default: now; with a seed, 2025-01-01T00:00:00Z)."),
            WindowSeconds = keys.Number("window_seconds", defaults.WindowSeconds, 1, 86_400),
            Types = SimulatorTypes.Read(keys, sessions, out var known),
            File = file.Path,
            Topic = file.Topic,
            Loop = file.Loop,
            Shift = file.Shift,
            FileTypes = known,
            EventTypes = Dimensions(keys, "event_types", defaults.EventTypes),
            DeviceCategories = Dimensions(keys, "device_categories", defaults.DeviceCategories),
            LateShare = keys.Value<double>("late_share", defaults.LateShare, TryShare, Share),
            RepeatShare = keys.Value<double>("repeat_share", defaults.RepeatShare, TryShare, Share),
            OutOfOrderShare = keys.Value<double>("out_of_order_share", defaults.OutOfOrderShare, TryShare, Share),
            MalformedShare = keys.Value<double>("malformed_share", defaults.MalformedShare, TryShare, Share),
            Sessions = sessions,
            Partitions = keys.Number("partitions", defaults.Partitions, 1, 10_000),
            Quiet = keys.Flag("quiet"),
            UnknownVariables = SimulatorCommand.Known.UnknownVariables(configuration),
            BootstrapServers = kafka?.Servers ?? keys.Servers("kafka_bootstrap_servers", defaults.BootstrapServers),
            KafkaProperties = kafka?.Properties ?? defaults.KafkaProperties,
        };

        var sum = options.LateShare + options.RepeatShare + options.MalformedShare;
        if (sum > 1)
        {
            keys.Errors.Add(Invariant(
                $"late_share + repeat_share + malformed_share = {sum:0.###}: together at most 1, since a row is one of them."));
        }

        FileSettings.CheckOthers(keys, options);
        SimulatorCommand.Known.Check(configuration, keys.Errors);
        keys.ThrowIfWrong();
        return options;
    }

    private static IReadOnlyList<string> Dimensions(FlatKeys keys, string key, IReadOnlyList<string> fallback)
    {
        var names = keys.List(key, keepsEmpty: true);
        if (names is null || (names.Count > 0 && names.All(IsDimension) && names.Distinct().Count() == names.Count))
        {
            return names ?? fallback;
        }

        keys.Refuse(key, string.Join(',', names),
            $"it must be distinct names, with commas or as a JSON array, each 1 to {MaxDimensionBytes} bytes of UTF-8 without control characters (default {string.Join(',', fallback)}).");
        return fallback;
    }

    /// <summary>Whether the service takes a name as a dimension.</summary>
    internal static bool IsDimension(string name) =>
        name.Length > 0 && Encoding.UTF8.GetByteCount(name) <= MaxDimensionBytes && !name.Any(char.IsControl);

    private static bool TryRate(string text, out double rate) => TryNumber(text, out rate) && rate is 0 or (>= 0.001 and <= 1_000_000);

    private static bool TryShare(string text, out double share) => TryNumber(text, out share) && share is >= 0 and <= 1;

    private static bool TryNumber(string text, out double number) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number);

    private static bool TrySeed(string text, out int? seed)
    {
        var isNumber = int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) && number >= 0;
        seed = number;
        return isNumber;
    }

    private static bool TryTime(string text, out DateTimeOffset? time)
    {
        if (long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var epoch) && epoch <= LatestStart.ToUnixTimeMilliseconds())
        {
            time = DateTimeOffset.FromUnixTimeMilliseconds(epoch);
            return true;
        }

        var isTime = DateTimeOffset.TryParseExact(text, TimeFormats, CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var parsed);
        time = parsed;
        return isTime && parsed >= DateTimeOffset.UnixEpoch && parsed <= LatestStart;
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
