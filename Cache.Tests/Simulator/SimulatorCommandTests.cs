using Cache.Producer.Simulator;

namespace Cache.Tests.Simulator;

public sealed class SimulatorCommandTests
{
    public static TheoryData<string> Keys => [.. SimulatorCommand.Options().Select(option => option.Key), "ConnectionStrings:kafka", "environment", "contentRoot"];

    [Theory]
    [MemberData(nameof(Keys))]
    public void EveryKey_IsTaken_InEachForm_InUpperOrLowerCase(string key)
    {
        var upper = key.ToUpperInvariant();
        foreach (var args in new string[][] { [$"--{key}", "a=b:c"], [$"--{key}=a=b:c"], [$"{key}=a=b:c"], [$"--{upper}", "a=b:c"], [$"--{upper}=a=b:c"] })
        {
            Assert.Equal("a=b:c", Read(args)[key]);
        }
    }

    [Fact]
    public void EveryKeyOfTheSimulator_IsTakenWithItsPrefix_AndIsInTheHelp()
    {
        var help = Help("--help");
        foreach (var option in SimulatorCommand.Options())
        {
            Assert.Equal("1", Read($"--simulator_{option.Key}", "1")[$"simulator_{option.Key}"]);
            Assert.Equal("1", Read($"--SIMULATOR_{option.Key}=1")[$"simulator_{option.Key}"]);
            Assert.Contains($"--{option.Key} <", help, StringComparison.Ordinal);
            Assert.DoesNotContain($"--simulator_{option.Key}", help, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("Kafka:ssl.ca.location")]
    [InlineData("Kafka:security_protocol")]
    [InlineData("event_types:0")]
    [InlineData("simulator_event_types:1")]
    [InlineData("metric_types:0:measures:0:name")]
    [InlineData("Logging:LogLevel:Default")]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT")]
    public void KeyOfALibrary_OrOfAList_IsTaken(string key)
    {
        Assert.Equal("/a", Assert.Single(Read($"--{key}", "/a"), given => given.Key == key).Value);
        Assert.Equal("a:b=c", Read($"--{key}=a:b=c")[key]);
        Assert.Equal("a", Read($"{key}=a")[key]);
    }

    [Fact]
    public void Flag_HasAValueOrNone()
    {
        var keys = Read("--sessions", "--rate", "5", "--quiet", "false", "--simulator_quiet");

        Assert.Equal(("true", "5", "false", "true"), (keys["sessions"], keys["rate"], keys["quiet"], keys["simulator_quiet"]));
        Assert.Equal("False", Read("--sessions=False")["sessions"]);
        Assert.Equal("", Read("--sessions=")["sessions"]);
    }

    [Fact]
    public void Value_IsTakenAsItIs()
    {
        var keys = Read("--Kafka:sasl.password", "@s3cret", "--rate", "-1", "--event_types", "[a, b]", "--count=", "--device_categories", "");

        Assert.Equal(("@s3cret", "-1", "[a, b]"), (keys["Kafka:sasl.password"], keys["rate"], keys["event_types"]));
        Assert.Equal(("", ""), (keys["count"], keys["device_categories"]));
    }

    [Fact]
    public void RepeatedOption_LastOneWins()
    {
        Assert.Equal("3", Read("--rate", "1", "--RATE=2", "--rate=3")["rate"]);
        Assert.Equal("true", Read("--quiet=false", "--quiet")["quiet"]);
        Assert.Equal("false", Read("--quiet", "--quiet=false")["quiet"]);
    }

    [Theory]
    [InlineData("--cuont: no such option; did you mean --count?", "--cuont", "5")]
    [InlineData("--window-seconds: no such option; did you mean --window_seconds?", "--window-seconds=5")]
    [InlineData("--Event_Type: no such option; did you mean --event_types?", "--Event_Type", "a")]
    [InlineData("--simulator_sesions: no such option; did you mean --simulator_sessions?", "--simulator_sesions")]
    [InlineData("--hlep: no such option; did you mean --help?", "--hlep")]
    [InlineData("--cuont: no such option; did you mean --count?", "--sessions", "--cuont", "5")]
    [InlineData("--throughput: no such option", "--throughput", "5")]
    [InlineData("-rate: no such option; did you mean --rate?", "-rate", "5")]
    [InlineData("1000: no such option", "1000")]
    [InlineData("cuont: no such option", "cuont=5")]
    [InlineData("--: no such option", "--")]
    [InlineData("--Kafak:acks: no such option; did you mean --Kafka:acks?", "--Kafak:acks", "1")]
    [InlineData("--evnt_types:0: no such option", "--evnt_types:0", "a")]
    [InlineData("--rate: must be followed by a value", "--rate")]
    [InlineData("--rate: must be followed by a value", "--rate", "--quiet")]
    [InlineData("--rate: must be followed by a value", "--rate", "5", "--rate")]
    [InlineData("--Kafka:acks: must be followed by a value", "--Kafka:acks")]
    public void IgnoredOption_IsAnError(string error, params string[] args) =>
        Assert.Equal(error, Assert.Single(SimulatorCommand.Read(args).Errors));

    [Theory]
    [InlineData("--ConnectionString=BootstrapServers=a:1;SaslPassword=S3cr3t")]
    [InlineData("--ConnectionString", "BootstrapServers=a:1;SaslPassword=S3cr3t")]
    [InlineData("-password", "S3cr3t")]
    [InlineData("password=S3cr3t")]
    public void Error_NeverRepeatsAValue(params string[] args) =>
        Assert.DoesNotContain("S3cr3t", Assert.Single(SimulatorCommand.Read(args).Errors), StringComparison.Ordinal);

    [Theory]
    [InlineData("--help")]
    [InlineData("-h")]
    [InlineData("-?")]
    [InlineData("--rate", "5", "--help", "--cuont")]
    public void Help_HasDefaultsAndExitCodes(params string[] args)
    {
        var help = Help(args);

        Assert.Contains("(default: 20; 0 for a file without --loop)", help, StringComparison.Ordinal);
        Assert.Contains("(default: event,performance)", help, StringComparison.Ordinal);
        Assert.Contains("(default: page_view,click,add_to_cart,purchase)", help, StringComparison.Ordinal);
        Assert.Contains("Exit codes:", help, StringComparison.Ordinal);
        Assert.Contains("--Kafka:<property>", help, StringComparison.Ordinal);
    }

    [Fact]
    public void WithoutHelpOrVersion_NothingIsPrinted()
    {
        using var output = new StringWriter();

        Assert.False(SimulatorCommand.Read(["--cuont", "5"]).Answer(output));
        Assert.False(SimulatorCommand.Read([]).Answer(output));
        Assert.Equal("", output.ToString());
    }

    private static string Help(params string[] args)
    {
        using var output = new StringWriter();
        Assert.True(SimulatorCommand.Read(args).Answer(output));
        return output.ToString();
    }

    private static IReadOnlyDictionary<string, string?> Read(params string[] args)
    {
        var arguments = SimulatorCommand.Read(args);
        Assert.Empty(arguments.Errors);
        return arguments.Keys;
    }
}
