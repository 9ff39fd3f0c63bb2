using Cache.Metrics;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.ServiceDefaults;

/// <summary>What <c>metric_types</c> may say, and what is said about everything else.</summary>
public sealed class MetricTypesReaderTests
{
    private const string Revenue =
        """
        { "name": "revenue", "topics": ["^shop\\..*\\.revenue$"], "time": "WINDOW_START", "end": "WINDOW_END", "dimension": ["country", "plan"], "window_seconds": 60,
          "measures": [ { "name": "total", "field": "AMOUNT", "kind": "number", "unit": "EUR", "rollup": "sum" } ] }
        """;

    [Fact]
    public void NoTypes_AreTheDefaults() => Assert.Equal(MetricType.Defaults, Read());

    [Fact]
    public void DefaultsWrittenOut_AreTheDefaults()
    {
        var types = Read(("metric_types",
            """
            [
              { "name": "event", "key": "event", "topics": ["event_metrics"], "dimension": ["event_type"],
                "measures": [ { "name": "count", "field": "event_count", "kind": "count" }, { "name": "users", "field": "user_count", "kind": "count", "rollup": "max" } ] },
              { "name": "performance", "key": "perf", "topics": ["performance_metrics"], "dimension": ["device_category"],
                "measures": [ { "name": "avg_load_time", "kind": "number", "unit": "ms", "rollup": "mean" }, { "name": "p95_load_time", "kind": "number", "unit": "ms", "rollup": "max" } ] }
            ]
            """));

        Assert.Equivalent(MetricType.Defaults.Select(Shown), types.Select(Shown), strict: true);
        Assert.All(types, type => Assert.False(type.IsDefault));
    }

    [Fact]
    public void GivenType_ComesAfterTheDefaults_WithItsDefaults()
    {
        var types = Read(("metric_types", $"[{Revenue}]"));

        Assert.Equal(["event", "performance", "revenue"], types.Select(type => type.Name));
        var revenue = types[2];
        Assert.Equal(("revenue", "WINDOW_START", "WINDOW_END", "|", 60), (revenue.Key, revenue.TimeField, revenue.EndField, revenue.Separator, revenue.WindowSeconds));
        Assert.Equal([@"^shop\..*\.revenue$"], revenue.Topics);
        Assert.Equal([new Measure("total", "AMOUNT", MeasureKind.Number, Rollup.Sum, "EUR")], revenue.Measures);
    }

    [Fact]
    public void IndexedKeys_SayTheSame()
    {
        var types = Read(
            ("METRIC_TYPES:0:NAME", "signups"), ("metric_types:0:topics", "signups,more_signups"), ("metric_types:0:dimension:0", "plan"), ("metric_types:0:time_unit", "s"),
            ("metric_types:0:measures:0:name", "new"), ("metric_types:0:measures:0:kind", "count"));

        var signups = types[2];
        Assert.Equal(["signups", "more_signups"], signups.Topics);
        Assert.Equal(("window_start", "window_end", TimeUnit.Seconds), (signups.TimeField, signups.EndField, signups.TimeUnit));
        Assert.Equal([new Measure("new", "new", MeasureKind.Count, Rollup.Sum)], signups.Measures);
    }

    [Fact]
    public void EntryWithTheNameOfADefault_ReplacesIt_InItsPlace()
    {
        var types = Read(("metric_types", """[{"name":"event","topics":["us-east.event_metrics"],"dimension":["event_type"],"measures":[{"name":"count","kind":"count"}]}]"""));

        Assert.Equal(["event", "performance"], types.Select(type => type.Name));
        Assert.Equal(["us-east.event_metrics"], types[0].Topics);
    }

    [Theory]
    [InlineData("metric_types:0:name is missing", "\"name\": \"revenue\",", "")]
    [InlineData("metric_types:0:name is 'Revenue'", "\"revenue\"", "\"Revenue\"")]
    [InlineData("metric_types:0:name is 'overview'; this name is reserved", "\"revenue\"", "\"overview\"")]
    [InlineData("metric_types:0:name is 'session'; this name is reserved", "\"revenue\"", "\"session\"")]
    [InlineData("performance and revenue have the same key 'perf'", "\"topics\"", "\"key\":\"perf\",\"topics\"")]
    [InlineData("metric_types:0:key is 'a:b'", "\"topics\"", "\"key\":\"a:b\",\"topics\"")]
    [InlineData("metric_types:0:topics is missing", "\"topics\": [\"^shop\\\\..*\\\\.revenue$\"],", "")]
    [InlineData("metric_types:0:topics has 'a b'", "^shop\\\\..*\\\\.revenue$", "a b")]
    [InlineData("metric_types:0:topics has '^(a'; that is not a regular expression, or too large a one.", "^shop\\\\..*\\\\.revenue$", "^(a")]
    [InlineData("metric_types:0:topics has '^(a{1,1000}){1,1000}'; that is not a regular expression, or too large a one.", "^shop\\\\..*\\\\.revenue$", "^(a{1,1000}){1,1000}")]
    [InlineData(@"metric_types:0:topics has '^shop\d'; use only what every regular expression knows", "^shop\\\\..*\\\\.revenue$", "^shop\\\\d")]
    [InlineData("metric_types:0:topics has '^(?!x)'; use only what every regular expression knows", "^shop\\\\..*\\\\.revenue$", "^(?!x)")]
    [InlineData("metric_types:0:dimension names 0 fields", "[\"country\", \"plan\"]", "[]")]
    [InlineData("metric_types:0:dimension names 4 fields", "[\"country\", \"plan\"]", "[\"a\",\"b\",\"c\",\"d\"]")]
    [InlineData("metric_types:0: the field 'country' is used twice", "\"AMOUNT\"", "\"country\"")]
    [InlineData("metric_types:0:separator is empty", "\"window_seconds\"", "\"separator\":\"\",\"window_seconds\"")]
    [InlineData("metric_types:0:window_seconds is '0'", ": 60", ": 0")]
    [InlineData("metric_types:0:window_seconds is '1m'", ": 60", ": \"1m\"")]
    [InlineData("metric_types:0:time_unit is 'min'; it must be ms, s or us.", "\"time\"", "\"time_unit\":\"min\",\"time\"")]
    [InlineData("metric_types:0:measures has 0 measures", "\"measures\"", "\"measures\":[],\"m\"")]
    [InlineData("metric_types:0:measures:0:name is 'p.95'", "\"total\"", "\"p.95\"")]
    [InlineData("metric_types:0:measures:0:kind is 'sum'; it must be count or number.", "\"number\"", "\"sum\"")]
    [InlineData("metric_types:0:measures:0:kind is missing", "\"kind\": \"number\",", "")]
    [InlineData("metric_types:0:measures:0:rollup is missing", ", \"rollup\": \"sum\"", "")]
    [InlineData("metric_types:0:measures:0:rollup is 'avg'; it must be sum, max, min, mean or last.", "\"sum\"", "\"avg\"")]
    [InlineData("metric_types:0:measures:0:signed is 'yes'", "\"unit\"", "\"signed\":\"yes\",\"unit\"")]
    [InlineData("metric_types:0:measures:0:unit is empty", "\"EUR\"", "\"\"")]
    [InlineData("metric_types:0:rollup is not a property; it must be name, key, topics", "\"window_seconds\"", "\"rollup\":\"sum\",\"window_seconds\"")]
    [InlineData("metric_types:0:windw_seconds is not a property; did you mean window_seconds?", "\"window_seconds\"", "\"windw_seconds\"")]
    [InlineData("metric_types:0:measures:0:dimension is not a property", "\"unit\"", "\"dimension\":\"x\",\"unit\"")]
    [InlineData("metric_types is not JSON", "{", "{{")]
    public void Error_NamesThePath_AndWhatIsRight(string error, string part, string by)
    {
        var keys = Keys(("metric_types", $"[{Revenue.Replace(part, by, StringComparison.Ordinal)}]"));
        MetricTypesReader.Read(keys);

        Assert.Contains(keys.Errors, line => line.StartsWith(error, StringComparison.Ordinal) || line.StartsWith($"metric_types: {error}", StringComparison.Ordinal));
    }

    [Fact]
    public void EveryError_IsReportedAtOnce()
    {
        var keys = Keys(("metric_types", """[{"name":"X","topics":[],"dimension":[],"measures":[{"name":"m","kind":"?"}]},7]"""));
        MetricTypesReader.Read(keys);

        Assert.Equal(5, keys.Errors.Count);
    }

    [Fact]
    public void SameNameTwice_IsRefused()
    {
        var keys = Keys(("metric_types", $"[{Revenue},{Revenue}]"));
        MetricTypesReader.Read(keys);

        Assert.Contains("metric_types:1:name is 'revenue' again; every type needs a name of its own.", keys.Errors);
    }

    [Theory]
    [InlineData("a.b", "a.b", true)]
    [InlineData("a.b", "axb", false)]
    [InlineData(@"^a\.b$", "a.b", true)]
    [InlineData(@"^a\.b$", "a.bc", false)]
    [InlineData("^a", "abc", true)]
    [InlineData("^(eu|us)[-.][a-z]{2,3}$", "eu-abc", true)]
    public void Pattern_MatchesTopics(string pattern, string topic, bool matches)
    {
        Assert.Equal(matches, TopicPattern.Matches(pattern, topic));
        Assert.Null(TopicPattern.Error(pattern));
    }

    private static string Shown(MetricType type) =>
        $"{type.Name} {type.Key} {string.Join(',', type.Topics)} {type.TimeField} {type.EndField} {string.Join(',', type.DimensionFields)} {type.Separator} {string.Join(',', type.Measures)} {type.WindowSeconds}";

    private static IReadOnlyList<MetricType> Read(params (string Key, string Value)[] settings)
    {
        var keys = Keys(settings);
        var types = MetricTypesReader.Read(keys);
        Assert.Equal([], keys.Errors);
        return types;
    }

    private static FlatKeys Keys(params (string Key, string Value)[] settings) => new(
        (IConfigurationRoot)new ConfigurationBuilder().AddInMemoryCollection(settings.ToDictionary(setting => setting.Key, setting => (string?)setting.Value)).Build());
}
