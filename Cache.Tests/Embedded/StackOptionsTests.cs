using Cache.Embedded;

namespace Cache.Tests.Embedded;

public sealed class StackOptionsTests
{
    [Fact]
    public void NoArguments_RunEverythingOnItsDefaults()
    {
        var options = StackOptions.Parse();

        Assert.True(options.Simulator);
        Assert.Equal(0, options.RedisPort);
        Assert.False(options.AsksForHelp);
        Assert.Empty(options.ServiceArguments);
        Assert.Empty(options.SimulatorArguments);
    }

    [Fact]
    public void Options_GoToThePartTheyAreFor()
    {
        var options = StackOptions.Parse(
            "--window_retention_count", "50", "--simulator_rate", "50", "--redis_port=6380", "--urls=http://localhost:8081",
            "--simulator_seed=7", "--simulator_sessions", "--Kafka:client.id", "a=b", "--redis_key_prefix", "");

        Assert.Equal(
            ["--window_retention_count=50", "--urls=http://localhost:8081", "--Kafka:client.id=a=b", "--redis_key_prefix="],
            options.ServiceArguments);
        Assert.Equal(["--rate=50", "--seed=7", "--sessions=true"], options.SimulatorArguments);
        Assert.True(options.Sessions);
        Assert.False(StackOptions.Parse("--simulator_sessions=false").Sessions);
        Assert.False(StackOptions.Parse().Sessions);
        Assert.Equal(6380, options.RedisPort);
    }

    [Theory]
    [InlineData("--no-simulator", false)]
    [InlineData("--NO-simulator=true", false)]
    [InlineData("--no-simulator=false", true)]
    public void NoSimulator_StandsAloneOrWithABoolean(string argument, bool runs)
    {
        var options = StackOptions.Parse(argument, "--redis_port", "1");

        Assert.Equal(runs, options.Simulator);
        Assert.Equal(1, options.RedisPort);
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("-h")]
    public void Help_IsAskedFor(string argument) => Assert.True(StackOptions.Parse(argument).AsksForHelp);

    [Theory]
    [InlineData("leftover", "leftover")]
    [InlineData("-x", "-x")]
    [InlineData("--", "--")]
    [InlineData("--rate", "--rate: must be followed by a value")]
    [InlineData("--rate --urls x", "--rate: must be followed by a value")]
    [InlineData("--redis_port 65536", "65536")]
    [InlineData("--redis_port -1", "-1")]
    [InlineData("--redis_port six", "0 for a free one")]
    [InlineData("--no-simulator=maybe", "maybe")]
    [InlineData("--no-simulator leftover", "leftover")]
    [InlineData("--ConnectionStrings:kafka host:9092", "Cache.Service by itself")]
    [InlineData("--connectionstrings:Redis=host", "Cache.Service by itself")]
    public void WhatCannotBeUsed_IsNamed(string arguments, string named)
    {
        var e = Assert.Throws<FormatException>(() => StackOptions.Parse(arguments.Split(' ')));

        Assert.Contains(named, e.Message, StringComparison.Ordinal);
    }
}
