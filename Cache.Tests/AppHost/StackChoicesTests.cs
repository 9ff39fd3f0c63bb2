using Cache.AppHost;
using Microsoft.Extensions.Configuration;

namespace Cache.Tests.AppHost;

/// <summary>Where the AppHost runs Kafka and Redis.</summary>
public sealed class StackChoicesTests
{
    [Theory]
    [InlineData("docker", "Kafka runs in a container, Redis in a container: docker answers.")]
    [InlineData(null, "Kafka runs inside this process, Redis inside this process: no container engine answers (docker info, podman info).")]
    public void Default_IsContainers_WhereAnEngineAnswers(string? engine, string said) =>
        Assert.StartsWith(said, Choose(engine).ToString());

    [Fact]
    public void ExplicitChoice_IsUsed_WithoutLookingForAnEngine()
    {
        var choices = StackChoices.Choose([], Configuration("--kafka", "External", "--redis", "EMBEDDED"), publishing: false, () => throw new InvalidOperationException());

        Assert.Equal((ServerMode.External, ServerMode.Embedded, false), (choices.Kafka, choices.Redis, choices.Simulator));
        Assert.StartsWith("Kafka runs elsewhere (ConnectionStrings:kafka), Redis inside this process: set by --kafka and --redis. To change this,", choices.ToString());
    }

    [Fact]
    public void ChosenForOne_LeavesTheOtherToItsDefault() =>
        Assert.Equal((ServerMode.Embedded, ServerMode.Container), Choose("podman", "--kafka", "embedded") is var choices ? (choices.Kafka, choices.Redis) : default);

    [Fact]
    public void Publication_HasContainersByDefault_WhateverTheMachineHas_AndNoSimulator()
    {
        var choices = StackChoices.Choose([], Configuration(), publishing: true, () => throw new InvalidOperationException());

        Assert.Equal((ServerMode.Container, ServerMode.Container, false), (choices.Kafka, choices.Redis, choices.Simulator));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Revenue_IsOnlyThereIfRequested(bool publishing)
    {
        var without = StackChoices.Choose([], Configuration(), publishing, () => "docker");
        var with = StackChoices.Choose([], Configuration("--revenue", "true"), publishing, () => "docker");

        Assert.Equal((false, true), (without.Revenue, with.Revenue));
        Assert.DoesNotContain("revenue", without.ToString(), StringComparison.Ordinal);
        Assert.EndsWith(" A third metric type, revenue, is on (--revenue).", with.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, "--kafka box: it must be embedded, container or external.", "--kafka", "box")]
    [InlineData(false, "--redis 1: it must be embedded, container or external.", "--redis", "1")]
    [InlineData(true, "--redis embedded: it must be container or external when publishing.", "--redis", "embedded")]
    [InlineData(false, "--simulator maybe: it must be followed by true or false.", "--simulator", "maybe")]
    [InlineData(false, "--simulator: it must be followed by true or false.", "--simulator")]
    [InlineData(false, "--revenue maybe: it must be followed by true or false.", "--revenue", "maybe")]
    [InlineData(true, "--revenue: it must be followed by true or false.", "--revenue")]
    [InlineData(false, "--embedded no longer exists; use --kafka embedded --redis embedded.", "--embedded")]
    [InlineData(true, "--external-kafka no longer exists; use --kafka external.", "--external-kafka")]
    public void InvalidOption_IsOneLine_WithWhatWouldBeValid(bool publishing, string said, params string[] args) =>
        Assert.Equal(said, Assert.Throws<FormatException>(() => StackChoices.Choose(args, Configuration(args), publishing, () => null)).Message);

    private static StackChoices Choose(string? engine, params string[] args) => StackChoices.Choose(args, Configuration(args), publishing: false, () => engine);

    private static IConfiguration Configuration(params string[] args) => new ConfigurationBuilder().AddCommandLine(args).Build();
}
