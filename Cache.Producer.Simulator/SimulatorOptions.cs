using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Cache.Producer.Simulator;

/// <summary>
/// What the simulator sends, how much of it and how fast. Keys are flat and snake_case (<c>rate</c>); each is also read with
/// the prefix <c>simulator_</c>, which wins, because a bare <c>rate</c> is too general a name in a shared environment.
/// </summary>
public sealed class SimulatorOptions
{
    /// <summary>The prefix under which every key is read first.</summary>
    public const string Prefix = "simulator_";

    /// <summary>The largest dimension the service takes, in bytes of UTF-8.</summary>
    public const int MaxDimensionBytes = 128;

    /// <summary>The keys with what they mean, in the order in which <c>--help</c> lists them.</summary>
    public static IReadOnlyList<(string Key, string Default, string Help)> Keys { get; } =
    [
        ("rate", "20", "rows a second; 0 = as fast as the broker takes them"),
        ("count", "0", "rows to send, then stop; 0 = no end"),
        ("seed", "random", "the same seed and options send the same rows again"),
        ("start", "now", "time of the first row, ISO-8601 or epoch ms; 2025-01-01T00:00:00Z when there is a seed"),
        ("window_seconds", "5", "length of a window"),
        ("event_types", "page_view,click,add_to_cart,purchase", "dimensions of event_metrics"),
        ("device_categories", "Desktop,Mobile,Tablet", "dimensions of performance_metrics"),
        ("late_share", "0", "share of rows (0 to 1) that go to a window up to 10 windows back"),
        ("repeat_share", "0", "share of rows that are the last good row once more"),
        ("out_of_order_share", "0", "share of rows that are swapped with one up to 10 rows later"),
        ("malformed_share", "0", "share of rows that the service must reject"),
        ("sessions", "false", "whether every fifth row is a session (session_metrics)"),
        ("partitions", "6", "partitions of the topics it has to create"),
        ("quiet", "false", "whether progress and summary are left out"),
    ];

    /// <summary>Rows a second, 0.001 to 1,000,000; 0 means as fast as the broker takes them. Default 20.</summary>
    public double Rate { get; init; } = 20;

    /// <summary>Rows to send before it stops, of every kind; 0 means no end. Default 0.</summary>
    public long Count { get; init; }

    /// <summary>Makes the rows repeatable, 0 to 2,147,483,647. Default null: one is drawn and printed.</summary>
    public int? Seed { get; init; }

    /// <summary>
    /// Time of the first row, 1970 to 2999. Default null: 2025-01-01T00:00:00Z when there is a seed, so that two runs send the
    /// same rows; otherwise the time at which sending starts.
    /// </summary>
    public DateTimeOffset? Start { get; init; }

    /// <summary>Length of a window in seconds, 1 to 86,400. Default 5.</summary>
    public int WindowSeconds { get; init; } = 5;

    /// <summary>Dimensions of <c>event_metrics</c>: distinct, 1 to 128 bytes of UTF-8, no control characters.</summary>
    public IReadOnlyList<string> EventTypes { get; init; } = ["page_view", "click", "add_to_cart", "purchase"];

    /// <summary>Dimensions of <c>performance_metrics</c>, under the rules of <see cref="EventTypes"/>.</summary>
    public IReadOnlyList<string> DeviceCategories { get; init; } = ["Desktop", "Mobile", "Tablet"];

    /// <summary>Share of rows, 0 to 1, that go to a window 1 to 10 windows back. Default 0.</summary>
    public double LateShare { get; init; }

    /// <summary>Share of rows, 0 to 1, that are the last well-formed row once more. Default 0.</summary>
    public double RepeatShare { get; init; }

    /// <summary>
    /// Share of rows, 0 to 1, that are swapped with one up to 10 rows later. Default 0. A swap takes two rows, so more than
    /// 0.5 does no more than 0.5.
    /// </summary>
    public double OutOfOrderShare { get; init; }

    /// <summary>Share of rows, 0 to 1, that break a rule of the format. Default 0.</summary>
    public double MalformedShare { get; init; }

    /// <summary>Whether every fifth row is one of <c>session_metrics</c>. Default false.</summary>
    public bool Sessions { get; init; }

    /// <summary>Partitions of a topic that is missing and has to be created, 1 to 10,000. Default 6.</summary>
    public int Partitions { get; init; } = 6;

    /// <summary>Whether nothing but warnings and errors is printed. Default false.</summary>
    public bool Quiet { get; init; }

    /// <summary>
    /// Kafka's addresses, <c>host:port[,host:port…]</c>: <c>ConnectionStrings:kafka</c>, else <c>kafka_bootstrap_servers</c>.
    /// Default kafka1:19092.
    /// </summary>
    public string BootstrapServers { get; init; } = "kafka1:19092";

    /// <summary>Properties of the client that stand in <c>ConnectionStrings:kafka</c>; those of the section <c>Kafka:</c> go over them.</summary>
    public IReadOnlyDictionary<string, string> KafkaProperties { get; init; } = new Dictionary<string, string>();

    /// <summary>Reads and checks every key.</summary>
    /// <exception cref="OptionsValidationException">
    /// Some key is wrong; <see cref="OptionsValidationException.Failures"/> has one line for each, with what would be right, and
    /// its value where that is no secret.
    /// </exception>
    public static SimulatorOptions Read(IConfiguration configuration)
    {
        var defaults = new SimulatorOptions();
        var reader = new Reader(configuration);
        var kafka = NullIfEmpty(configuration.GetConnectionString("kafka")) is { } text ? KafkaConnectionString.Read(text, reader.Errors) : null;
        var options = new SimulatorOptions
        {
            Rate = reader.Rate("rate", defaults.Rate),
            Count = reader.Whole("count", 0, long.MaxValue) ?? defaults.Count,
            Seed = (int?)reader.Whole("seed", 0, int.MaxValue),
            Start = reader.Time("start"),
            WindowSeconds = (int?)reader.Whole("window_seconds", 1, 86_400) ?? defaults.WindowSeconds,
            EventTypes = reader.Dimensions("event_types") ?? defaults.EventTypes,
            DeviceCategories = reader.Dimensions("device_categories") ?? defaults.DeviceCategories,
            LateShare = reader.Share("late_share"),
            RepeatShare = reader.Share("repeat_share"),
            OutOfOrderShare = reader.Share("out_of_order_share"),
            MalformedShare = reader.Share("malformed_share"),
            Sessions = reader.Flag("sessions"),
            Partitions = (int?)reader.Whole("partitions", 1, 10_000) ?? defaults.Partitions,
            Quiet = reader.Flag("quiet"),
            BootstrapServers = kafka?.Servers ?? reader.Servers("kafka_bootstrap_servers") ?? defaults.BootstrapServers,
            KafkaProperties = kafka?.Properties ?? defaults.KafkaProperties,
        };

        var sum = options.LateShare + options.RepeatShare + options.MalformedShare;
        if (sum > 1)
        {
            reader.Errors.Add(Invariant(
                $"late_share + repeat_share + malformed_share = {sum:0.###}: together at most 1, since a row is one of them"));
        }

        return reader.Errors.Count == 0
            ? options
            : throw new OptionsValidationException(nameof(SimulatorOptions), typeof(SimulatorOptions), reader.Errors);
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    private static string? NullIfEmpty(string? text) => string.IsNullOrWhiteSpace(text) ? null : text.Trim();

    private sealed class Reader(IConfiguration configuration)
    {
        private static readonly string[] TimeFormats =
            ["yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK", "yyyy-MM-dd'T'HH:mmK", "yyyy-MM-dd HH:mm:ss.FFFFFFFK", "yyyy-MM-dd"];

        private static readonly DateTimeOffset LatestStart = new(2999, 12, 31, 0, 0, 0, TimeSpan.Zero);

        public List<string> Errors { get; } = [];

        public double Rate(string key, double fallback)
        {
            var (name, text) = Value(key);
            if (text is null)
            {
                return fallback;
            }

            if (TryNumber(text, out var rate) && rate is 0 or (>= 0.001 and <= 1_000_000))
            {
                return rate;
            }

            Wrong(name, text, "0 (as fast as the broker takes them) or 0.001 to 1000000 rows a second");
            return fallback;
        }

        public double Share(string key)
        {
            var (name, text) = Value(key);
            var share = 0.0;
            if (text is null || (TryNumber(text, out share) && share is >= 0 and <= 1))
            {
                return share;
            }

            Wrong(name, text, "a share from 0 to 1, such as 0.05");
            return 0;
        }

        public long? Whole(string key, long min, long max)
        {
            var (name, text) = Value(key);
            if (text is null)
            {
                return null;
            }

            if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value)
                && value >= min && value <= max)
            {
                return value;
            }

            Wrong(name, text, Invariant($"a whole number from {min}") + (max == long.MaxValue ? "" : Invariant($" to {max}")));
            return null;
        }

        public bool Flag(string key)
        {
            var (name, text) = Value(key);
            var flag = false;
            if (text is null || bool.TryParse(text, out flag))
            {
                return flag;
            }

            Wrong(name, text, "true or false");
            return false;
        }

        public DateTimeOffset? Time(string key)
        {
            var (name, text) = Value(key);
            if (text is null)
            {
                return null;
            }

            var latest = LatestStart.ToUnixTimeMilliseconds();
            if (long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var epoch) && epoch <= latest)
            {
                return DateTimeOffset.FromUnixTimeMilliseconds(epoch);
            }

            if (DateTimeOffset.TryParseExact(text, TimeFormats, CultureInfo.InvariantCulture,
                    DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var time)
                && time >= DateTimeOffset.UnixEpoch && time <= LatestStart)
            {
                return time;
            }

            Wrong(name, text, "a time from 1970 to 2999, as 2025-01-01T00:00:00Z or epoch milliseconds");
            return null;
        }

        public string[]? Dimensions(string key)
        {
            var (name, text) = Value(key);
            var items = text is null ? Indexed(ref name, key) : Split(text);
            if (text is null && items is null)
            {
                return null;
            }

            if (items is { Length: > 0 } && items.All(IsDimension) && items.Distinct().Count() == items.Length)
            {
                return items;
            }

            Wrong(name, text ?? string.Join(',', items!),
                "distinct names, comma separated or a JSON array, each 1 to 128 bytes of UTF-8 without control characters");
            return null;
        }

        public string? Servers(string key)
        {
            var text = NullIfEmpty(configuration[key]);
            if (text is null || KafkaConnectionString.TryReadServers(text, out text))
            {
                return text;
            }

            // Not repeated: there may be a password in it.
            Errors.Add($"{key}: must be host:port, or several with commas");
            return null;
        }

        private static bool IsDimension(string name) =>
            name.Length > 0 && Encoding.UTF8.GetByteCount(name) <= MaxDimensionBytes && !name.Any(char.IsControl);

        private static string[]? Split(string text)
        {
            if (!text.StartsWith('['))
            {
                return text.Split(',', StringSplitOptions.TrimEntries);
            }

            try
            {
                var items = JsonSerializer.Deserialize<string[]>(text);
                return items is null || items.Contains(null!) ? null : items;
            }
            catch (JsonException)
            {
                return null;
            }
        }

        private static bool TryNumber(string text, out double number) =>
            double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number);

        private string[]? Indexed(ref string name, string key)
        {
            foreach (var candidate in new[] { Prefix + key, key })
            {
                var items = configuration.GetSection(candidate).GetChildren().Select(child => child.Value ?? "").ToArray();
                if (items.Length > 0)
                {
                    name = candidate;
                    return items;
                }
            }

            return null;
        }

        private (string Name, string? Text) Value(string key) =>
            NullIfEmpty(configuration[Prefix + key]) is { } prefixed
                ? (Prefix + key, prefixed)
                : (key, NullIfEmpty(configuration[key]));

        private void Wrong(string name, string value, string right) => Errors.Add($"{name} = '{value}': must be {right}");
    }
}
