using Cache.Metrics;
using Cache.Producer.Simulator;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.Simulator;

public sealed class SimulatorOptionsTests
{
    private const string Revenue = """{"name":"revenue","topics":["^shop\\.","shop.revenue"],"dimension":["country"],"measures":[{"name":"orders","kind":"count"}]}""";

    [Fact]
    public void Read_WithNothingSet_GivesTheDefaults()
    {
        var options = Read();
        Assert.Equal(20, options.Rate);
        Assert.Equal(0, options.Count);
        Assert.Null(options.Seed);
        Assert.Null(options.Start);
        Assert.Equal(5, options.WindowSeconds);
        Assert.Equal(MetricType.Defaults, options.Types);
        Assert.Equal(["event_metrics", "performance_metrics"], options.Topics);
        Assert.Equal(["page_view", "click", "add_to_cart", "purchase"], options.EventTypes);
        Assert.Equal(["Desktop", "Mobile", "Tablet"], options.DeviceCategories);
        Assert.Equal(6, options.Partitions);
        Assert.False(options.Sessions);
        Assert.Equal("kafka1:19092", options.BootstrapServers);
    }

    [Fact]
    public void Read_TakesEveryKey_AndThePrefixWins()
    {
        var options = Read(
            ("rate", "5"), ("SIMULATOR_RATE", "1000.5"), ("count", "100000"), ("seed", "7"),
            ("start", "2025-03-01T12:00:00+02:00"),
            ("window_seconds", "60"), ("late_share", "0.1"), ("repeat_share", "0.2"), ("out_of_order_share", "0.3"),
            ("malformed_share", "0.4"), ("sessions", "True"), ("partitions", "12"), ("quiet", "true"), ("simulator_quiet", " "));
        Assert.Equal(1000.5, options.Rate);
        Assert.Equal(100_000, options.Count);
        Assert.Equal(7, options.Seed);
        Assert.Equal(new DateTimeOffset(2025, 3, 1, 10, 0, 0, TimeSpan.Zero), options.Start);
        Assert.Equal(60, options.WindowSeconds);
        Assert.Equal((0.1, 0.2), (options.LateShare, options.RepeatShare));
        Assert.Equal((0.3, 0.4), (options.OutOfOrderShare, options.MalformedShare));
        Assert.True(options.Sessions);
        Assert.Equal(12, options.Partitions);
        Assert.True(options.Quiet);
    }

    [Fact]
    public void UnknownName_WithThePrefix_IsAnError_AndInTheEnvironmentAWarning()
    {
        Assert.Equal(
            ["simulator_rat is not a configuration key; did you mean simulator_rate?"],
            Assert.Throws<ConfigurationException>(() => Read(("simulator_rat", "5"), ("rat", "5"), ("simulator_types:0", "event"))).Errors);

        var variables = $"TEST_{Guid.NewGuid():N}_";
        Environment.SetEnvironmentVariable($"{variables}SIMULATOR_RAT", "5");
        Environment.SetEnvironmentVariable($"{variables}KAFKA_SASL_PASSWORD", "5");
        try
        {
            Assert.Equal(
                ["SIMULATOR_RAT (did you mean SIMULATOR_RATE?)"],
                SimulatorOptions.Read(new ConfigurationBuilder().AddEnvironmentVariables(variables).Build()).UnknownVariables);
        }
        finally
        {
            Environment.SetEnvironmentVariable($"{variables}SIMULATOR_RAT", null);
            Environment.SetEnvironmentVariable($"{variables}KAFKA_SASL_PASSWORD", null);
        }
    }

    [Theory]
    [InlineData("1735689600000")]
    [InlineData("2025-01-01")]
    [InlineData("2025-01-01T00:00Z")]
    [InlineData("2025-01-01T01:00:00.000+01:00")]
    [InlineData("2025-01-01 00:00:00")]
    public void Start_IsReadInEveryTimeFormat(string text) =>
        Assert.Equal(1_735_689_600_000, Read(("start", text)).Start!.Value.ToUnixTimeMilliseconds());

    [Fact]
    public void Lists_ComeWithCommas_AsJson_OrIndexed()
    {
        Assert.Equal(["a", "b"], Read(("event_types", "a, b")).EventTypes);
        Assert.Equal(["a", "b,c"], Read(("event_types", """["a", "b,c"]""")).EventTypes);
        Assert.Equal(["a", "b"], Read(("event_types:0", "a"), ("event_types:1", "b")).EventTypes);
        Assert.Equal(["c"], Read(("event_types:0", "a"), ("simulator_event_types:0", "c")).EventTypes);
        Assert.Equal(["c"], Read(("event_types", "a"), ("simulator_event_types:0", "c")).EventTypes);
        Assert.Equal(["a"], Read(("event_types", "a"), ("simulator_event_types", " ")).EventTypes);
    }

    [Fact]
    public void ConnectionString_WinsOverBootstrapServers()
    {
        Assert.Equal("a:1", Read(("kafka_bootstrap_servers", "a:1")).BootstrapServers);
        Assert.Equal("b:2", Read(("kafka_bootstrap_servers", "a:1"), ("ConnectionStrings:kafka", "b:2")).BootstrapServers);
    }

    [Fact]
    public void ConnectionString_MayHaveProperties()
    {
        var options = Read(("ConnectionStrings:kafka", "BootstrapServers=a:1, b:2;SecurityProtocol=SASL_PLAINTEXT;sasl.mechanism=Plain;SaslPassword=\"p;q\""));
        Assert.Equal("a:1,b:2", options.BootstrapServers);
        Assert.Equal(
            new Dictionary<string, string> { ["security.protocol"] = "sasl_plaintext", ["sasl.mechanism"] = "PLAIN", ["sasl.password"] = "p;q" },
            options.KafkaProperties);
        Assert.Empty(Read(("ConnectionStrings:kafka", "a:1")).KafkaProperties);
    }

    [Theory]
    [InlineData("ConnectionStrings:kafka", "user:S3cr3t@broker:9092")]
    [InlineData("ConnectionStrings:kafka", "SaslPassword=S3cr3t")]
    [InlineData("ConnectionStrings:kafka", "BootstrapServers=a:1;SaslPasword=S3cr3t")]
    [InlineData("ConnectionStrings:kafka", "BootstrapServers=a:1;SecurityProtocol=S3cr3t")]
    [InlineData("ConnectionStrings:kafka", "Endpoint=sb://demo.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=S3cr3t=")]
    [InlineData("kafka_bootstrap_servers", "user:S3cr3t@broker:9092")]
    public void InvalidBrokers_AreNamedByTheirKey_AndNotQuoted(string key, string value)
    {
        var failure = Assert.Single(Failures((key, value)));
        Assert.StartsWith(key, failure, StringComparison.Ordinal);
        Assert.DoesNotContain("S3cr3t", failure, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("rate", "fast")]
    [InlineData("rate", "-1")]
    [InlineData("rate", "NaN")]
    [InlineData("rate", "Infinity")]
    [InlineData("count", "1e6")]
    [InlineData("seed", "2147483648")]
    [InlineData("start", "tomorrow")]
    [InlineData("start", "1969-12-31")]
    [InlineData("start", "99999999999999999")]
    [InlineData("window_seconds", "0")]
    [InlineData("window_seconds", "86401")]
    [InlineData("types", "revenue")]
    [InlineData("types", "event,,performance")]
    [InlineData("types", "event,event")]
    [InlineData("simulator_types", "Event")]
    [InlineData("event_types", "a,,b")]
    [InlineData("event_types", "a,a")]
    [InlineData("event_types", "[1")]
    [InlineData("device_categories", "a\u0007")]
    [InlineData("late_share", "1.1")]
    [InlineData("repeat_share", "-0.1")]
    [InlineData("out_of_order_share", "NaN")]
    [InlineData("malformed_share", "5%")]
    [InlineData("sessions", "yes")]
    [InlineData("partitions", "0")]
    [InlineData("quiet", "1")]
    [InlineData("simulator_rate", "fast")]
    public void BadValue_IsNamedWithItsKey_AndTheValidForm(string key, string value)
    {
        var failure = Assert.Single(Failures((key, value)));
        Assert.StartsWith($"{key} is '{value}'; it must be ", failure, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("[null]")]
    [InlineData("[\"\"]")]
    public void ListWithoutAName_IsReportedAsEmpty(string value) =>
        Assert.StartsWith("event_types is empty; it must be ", Assert.Single(Failures(("event_types", value))), StringComparison.Ordinal);

    [Fact]
    public void BadValues_AreAllReportedAtOnce() =>
        Assert.Equal(3, Failures(("rate", "x"), ("count", "x"), ("event_types", new string('é', 65))).Count);

    [Fact]
    public void Types_ArePickedByName_OutOfTheDefaultsAndThoseGiven()
    {
        Assert.Equal(MetricType.Defaults, Read(("metric_types", $"[{Revenue}]")).Types);
        Assert.Equal(["performance"], Read(("types", "performance")).Types.Select(type => type.Name));

        var options = Read(("metric_types", $"[{Revenue}]"), ("types", "event"), ("simulator_types", "revenue, event"));
        Assert.Equal(["revenue", "event"], options.Types.Select(type => type.Name));
        Assert.Equal(["shop.revenue", "event_metrics"], options.Topics);
    }

    [Fact]
    public void MetricTypes_ComeIndexed_AndThePrefixWins_AsWithOtherKeys()
    {
        (string, string)[] indexed =
        [
            ("simulator_metric_types:0:name", "revenue"), ("simulator_metric_types:0:topics:0", "sales"), ("simulator_metric_types:0:dimension:0", "country"),
            ("simulator_metric_types:0:measures:0:name", "orders"), ("simulator_metric_types:0:measures:0:kind", "count"),
        ];
        Assert.Equal(["sales"], Read([.. indexed, ("metric_types", $"[{Revenue}]"), ("types", "revenue")]).Topics);
    }

    [Fact]
    public void TypeThatReplacesADefault_IsPicked()
    {
        var options = Read(("metric_types", $"[{Revenue.Replace("revenue", "event", StringComparison.Ordinal)}]"));
        Assert.Equal(["shop.event", "performance_metrics"], options.Topics);
    }

    [Fact]
    public void UnknownType_IsRefused_WithThoseThatAreKnown()
    {
        var failure = Assert.Single(Failures(("metric_types", $"[{Revenue}]"), ("types", "event,revenu")));
        Assert.Equal("types is 'event,revenu'; it must be distinct names of metric types, with commas: of event, performance, revenue (default event,performance).", failure);
        Assert.StartsWith("types is empty; it must be ", Assert.Single(Failures(("types", "[]"))), StringComparison.Ordinal);
    }

    [Fact]
    public void BadMetricType_IsReportedWithTheOtherErrors_AndNotAsUnknown()
    {
        var failures = Failures(("metric_types", $"[{Revenue.Replace("count", "sum", StringComparison.Ordinal)}]"), ("types", "revenue"), ("rate", "fast"));
        Assert.Equal(2, failures.Count);
        Assert.Contains(failures, failure => failure.StartsWith("metric_types:0:measures:0:kind", StringComparison.Ordinal));
        Assert.Contains(failures, failure => failure.StartsWith("rate ", StringComparison.Ordinal));
    }

    [Fact]
    public void TypeWithoutATopicByName_IsRefused_IfPicked()
    {
        var patterns = $"[{Revenue.Replace(",\"shop.revenue\"", "", StringComparison.Ordinal)}]";

        Assert.Equal(MetricType.Defaults, Read(("metric_types", patterns)).Types);
        Assert.Equal(
            "types: every topic of revenue is a pattern, and rows need one by name; add it to the topics of revenue in metric_types.",
            Assert.Single(Failures(("metric_types", patterns), ("types", "revenue"))));
    }

    [Theory]
    [InlineData("event_metrics", "event,revenue", "types: event and revenue have the same topic event_metrics; a topic has rows of one type.")]
    [InlineData("session_metrics", "revenue", "types: revenue and sessions have the same topic session_metrics; a topic has rows of one type.")]
    public void TypesOfTheSameTopic_AreRefused(string topic, string types, string said) =>
        Assert.Equal(said, Assert.Single(Failures(("metric_types", $"[{Revenue.Replace("shop.revenue", topic, StringComparison.Ordinal)}]"), ("types", types), ("sessions", "true"))));

    [Fact]
    public void SharesThatExcludeEachOther_AddUpToOneAtMost()
    {
        var failure = Assert.Single(Failures(("late_share", "0.5"), ("repeat_share", "0.3"), ("malformed_share", "0.4")));
        Assert.Contains("= 1.2: together at most 1", failure, StringComparison.Ordinal);
        Assert.Equal(1, Read(("late_share", "0"), ("malformed_share", "1"), ("out_of_order_share", "1")).MalformedShare);
    }

    private static IReadOnlyList<string> Failures(params (string Key, string Value)[] settings) =>
        Assert.Throws<ConfigurationException>(() => Read(settings)).Errors;

    private static SimulatorOptions Read(params (string Key, string Value)[] settings) =>
        SimulatorOptions.Read(new ConfigurationBuilder()
            .AddInMemoryCollection(settings.Select(setting => KeyValuePair.Create(setting.Key, (string?)setting.Value)))
            .Build());
}
