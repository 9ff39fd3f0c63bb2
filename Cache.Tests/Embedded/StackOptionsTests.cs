using Cache.Embedded;
using Cache.Producer.Simulator;
using Cache.Service.Options;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.Embedded;

public sealed class StackOptionsTests
{
    [Fact]
    public void NoArguments_RunEverythingOnItsDefaults()
    {
        var options = StackOptions.Parse();

        Assert.True(options.Simulator);
        Assert.False(options.Sessions);
        Assert.False(options.Revenue);
        Assert.False(options.Open);
        Assert.Equal(0, options.RedisPort);
        Assert.Empty(options.ServiceArguments);
        Assert.Empty(options.SimulatorArguments);
    }

    [Fact]
    public void Options_GoToThePartTheyAreFor()
    {
        var options = StackOptions.Parse(
            "--window_retention_count", "50", "--simulator_rate", "50", "--redis_port=6380", "--urls=http://localhost:8081",
            "--simulator_seed=7", "--simulator_sessions", "--Kafka:client.id", "a=b", "--redis_key_prefix", "", "--cache_dead_letter_topic=",
            "--simulator_Kafka:linger.ms=1", "--OTEL_SERVICE_NAME", "cache", "--simulator_environment", "Development");

        Assert.Equal(
            ["--Kafka:client.id=a=b", "--OTEL_SERVICE_NAME=cache", "--cache_dead_letter_topic=", "--redis_key_prefix=", "--urls=http://localhost:8081", "--window_retention_count=50"],
            options.ServiceArguments.Order(StringComparer.Ordinal));
        Assert.Equal(
            ["--Kafka:linger.ms=1", "--environment=Development", "--simulator_rate=50", "--simulator_seed=7", "--simulator_sessions=true"],
            options.SimulatorArguments.Order(StringComparer.Ordinal));
        Assert.True(options.Sessions);
        Assert.False(StackOptions.Parse("--simulator_sessions=false").Sessions);
        Assert.Equal(6380, options.RedisPort);
    }

    [Fact]
    public void MetricTypes_GoToTheServiceAndTheSimulator()
    {
        var options = StackOptions.Parse("--metric_types", "[]", "--METRIC_TYPES:0:name=revenue", "--simulator_types", "revenue");

        Assert.Equal(["--METRIC_TYPES:0:name=revenue", "--metric_types=[]"], options.ServiceArguments.Order(StringComparer.Ordinal));
        Assert.Equal(["--METRIC_TYPES:0:name=revenue", "--metric_types=[]", "--simulator_types=revenue"], options.SimulatorArguments.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Revenue_IsAThirdType_OfTheServiceAndTheSimulator()
    {
        var options = StackOptions.Parse("--revenue", "--simulator_types", "revenue");

        Assert.True(options.Revenue);
        Assert.Equal([$"--metric_types={RevenueType.MetricTypes}"], options.ServiceArguments);
        Assert.Equal(
            [$"--metric_types={RevenueType.MetricTypes}", "--simulator_types=event,performance,revenue", "--simulator_types=revenue"],
            options.SimulatorArguments);
        Assert.Empty(StackOptions.Parse("--revenue=false").ServiceArguments);
    }

    [Fact]
    public void TypesOfRevenue_AreValid_AndSentAtOnce()
    {
        var options = SimulatorOptions.Read(new ConfigurationBuilder().AddInMemoryCollection(
            [new("metric_types", RevenueType.MetricTypes), new("types", RevenueType.SimulatorTypes)]).Build());

        Assert.Equal(["event_metrics", "performance_metrics", RevenueType.Topic], options.Topics);
        var type = Assert.Single(options.Types, type => type.Name == RevenueType.Name);
        Assert.Equal(options.WindowSeconds, type.WindowSeconds);
        Assert.Equal([("total", "EUR"), ("orders", null)], type.Measures.Select(measure => (measure.Name, measure.Unit)));
    }

    /// <summary>The keys of the configuration, of the simulator, and of ASP.NET.</summary>
    [Fact]
    public void EveryKey_IsTaken_InEitherForm_InUpperOrLowerCase()
    {
        string[] service = [.. CacheOptionsReader.Keys.Except(["redis_port", "metric_types"]), "urls", "http_ports", "AllowedHosts", "environment", "Logging:LogLevel:Default"];
        var simulator = SimulatorCommand.Options().Select(option => $"simulator_{option.Key}").Except(["simulator_sessions"]);
        foreach (var key in service.Concat(simulator))
        {
            string[] expected = [$"--{key}=5"];
            foreach (var options in new[] { StackOptions.Parse($"--{key}", "5"), StackOptions.Parse($"--{key}=5"), StackOptions.Parse($"--{key}=4", $"--{key.ToUpperInvariant()}", "5") })
            {
                Assert.Equal(expected, options.ServiceArguments.Concat(options.SimulatorArguments), StringComparer.OrdinalIgnoreCase);
            }
        }
    }

    [Theory]
    [InlineData("--no-simulator", false)]
    [InlineData("--NO-simulator=true", false)]
    [InlineData("--no-simulator=false", true)]
    public void NoSimulator_TakesABooleanOrNone(string argument, bool runs)
    {
        var options = StackOptions.Parse(argument, "--redis_port", "1");

        Assert.Equal(runs, options.Simulator);
        Assert.Equal(1, options.RedisPort);
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("-h")]
    [InlineData("-?")]
    [InlineData("--no-simulator --help --no-such-option")]
    public void Help_ListsTheOptions(string arguments)
    {
        using var output = new StringWriter();

        Assert.True(StackOptions.Arguments(arguments.Split(' ')).Answer(output));
        Assert.All(
            ["--urls <url>", "--redis_port <port>", "--no-simulator", "--simulator_sessions", "--revenue", "--open", "--simulator_<option>", "--<key>", "--version"],
            option => Assert.Contains(option, output.ToString(), StringComparison.Ordinal));
        Assert.DoesNotContain("--http_ports", output.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("leftover", "leftover: no such option")]
    [InlineData("-x", "-x: no such option")]
    [InlineData("--", "--: no such option")]
    [InlineData("--rate", "--rate: no such option")]
    [InlineData("--window_retention_cuont 5", "did you mean --window_retention_count?")]
    [InlineData("--simulator_raet 5", "did you mean --simulator_rate?")]
    [InlineData("--no-simulater", "did you mean --no-simulator?")]
    [InlineData("--url x", "did you mean --urls?")]
    [InlineData("--window_retention_count", "--window_retention_count: must be followed by a value")]
    [InlineData("--window_retention_count --urls x", "--window_retention_count: must be followed by a value")]
    [InlineData("--simulator_rate", "--simulator_rate: must be followed by a value")]
    [InlineData("--simulator_sessions maybe", "simulator_sessions is 'maybe'")]
    [InlineData("--redis_port 65536", "65536")]
    [InlineData("--redis_port -1", "-1")]
    [InlineData("--redis_port six", "0 for a free one")]
    [InlineData("--no-simulator=maybe", "maybe")]
    [InlineData("--revenue=maybe", "maybe")]
    [InlineData("--revenue --metric_types []", "leave one out")]
    [InlineData("--no-simulator leftover", "leftover")]
    [InlineData("--ConnectionStrings:kafka host:9092", "Cache.Service by itself")]
    [InlineData("--connectionstrings:Redis=host", "Cache.Service by itself")]
    public void UnusableValue_IsNamed(string arguments, string named)
    {
        var error = Assert.Single(Assert.Throws<ConfigurationException>(() => StackOptions.Parse(arguments.Split(' '))).Errors);

        Assert.Contains(named, error, StringComparison.Ordinal);
    }

    [Fact]
    public void UnusableValues_AreReportedAtOnce()
    {
        var e = Assert.Throws<ConfigurationException>(() => StackOptions.Parse("leftover", "--redis_port", "six", "--no-simulator=maybe", "--urls"));

        Assert.Equal(4, e.Errors.Count);
    }
}
