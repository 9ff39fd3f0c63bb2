using System.Text.Json;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Aspire.Hosting.Testing;
using Cache.Embedded;
using Cache.Metrics;
using Microsoft.Extensions.Configuration;

namespace Cache.Tests.AppHost;

/// <summary>The AppHost's model, without starting anything: no container engine is needed.</summary>
public sealed class ModelTests
{
    private const string Password = "q7Zt3wXk9LmB2vNc5RfH8d";

    private static readonly string[] Containers = ["--kafka", "container", "--redis", "container"];
    private static readonly string[] Embedded = ["--kafka", "embedded", "--redis", "embedded"];

    private static readonly TimeSpan TestTimeout = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task Containers_ComeWithVolumesAndTools()
    {
        await using var builder = await CreateAsync(Containers);

        var names = builder.Resources.Select(resource => resource.Name).ToHashSet();
        Assert.Superset(new HashSet<string> { "kafka", "kafka-ui", "redis", "redisinsight", "cache", "simulator", "sample", "simulator-rate", "simulator-seed", "simulator-sessions" }, names);
        Assert.IsType<KafkaServerResource>(Find(builder, "kafka"));
        Assert.IsType<RedisResource>(Find(builder, "redis"));
        foreach (var name in new[] { "kafka", "redis" })
        {
            Assert.Contains(Find(builder, name).Annotations.OfType<ContainerMountAnnotation>(), mount => mount.Type == ContainerMountType.Volume);
        }
    }

    [Fact]
    public async Task Service_HasReplicasHealthCheckAndAnExternalEndpoint()
    {
        await using var builder = await CreateAsync(Embedded);
        var cache = Find(builder, "cache");

        Assert.Equal(2, Assert.Single(cache.Annotations.OfType<ReplicaAnnotation>()).Replicas);
        Assert.Contains(cache.Annotations.OfType<HealthCheckAnnotation>(), check => check.Key.Contains("/readyz", StringComparison.Ordinal));
        var http = Assert.Single(cache.Annotations.OfType<EndpointAnnotation>());
        Assert.Equal(("http", "http", 8080, true), (http.Name, http.UriScheme, http.Port, http.IsExternal));

        // Replicas share the proxy's port; without a proxy, they would compete for it.
        Assert.True(http.IsProxied);
    }

    [Fact]
    public async Task Resources_WaitForWhatTheyNeed()
    {
        await using var builder = await CreateAsync(Embedded);

        Assert.Equal(["kafka", "redis"], Waits(builder, "cache"));
        Assert.Equal(["cache", "kafka"], Waits(builder, "simulator"));
        Assert.Equal(["cache"], Waits(builder, "sample"));
    }

    [Fact]
    public async Task Containers_AreGivenAsConnectionStrings_WithThePassword()
    {
        await using var builder = await CreateAsync(Containers);
        builder.Configuration["Parameters:redis-password"] = Password;
        AllocateEndpoints(builder);

        var cache = await EnvironmentAsync(builder, "cache");
        Assert.Matches(@"^localhost:\d+$", cache["ConnectionStrings__kafka"]);
        Assert.Matches($@"^localhost:\d+,password={Password}(,ssl=true)?$", cache["ConnectionStrings__redis"]);

        // A clash that the service has to handle: these are also names of its flat keys.
        Assert.Superset(new HashSet<string> { "KAFKA_HOST", "KAFKA_PORT", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_URI" }, cache.Keys.ToHashSet());
        Assert.Equal("true", cache["Kafka__allow_auto_create_topics"]);
        Assert.Superset(new HashSet<string> { "ASPNETCORE_URLS", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME" }, cache.Keys.ToHashSet());

        var simulator = await EnvironmentAsync(builder, "simulator");
        Assert.Equal(("20", "7", "false"), (simulator["simulator_rate"], simulator["simulator_seed"], simulator["simulator_sessions"]));
        Assert.DoesNotContain("cache_kafka_topics", cache.Keys);
        Assert.Equal(cache["ConnectionStrings__kafka"], simulator["ConnectionStrings__kafka"]);
        Assert.DoesNotContain("ConnectionStrings__redis", simulator.Keys);

        // The address that its client's service discovery reads.
        var sample = await EnvironmentAsync(builder, "sample");
        Assert.Matches(@"^http://localhost:\d+$", sample["services__cache__http__0"]);
        Assert.DoesNotContain(sample.Keys, key => key.StartsWith("ConnectionStrings__", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Simulator_TakesItsParameters_AndTheServiceReadsTheSessionsThatItSends()
    {
        await using var builder = await CreateAsync(
            [.. Containers, "--Parameters:simulator-rate=500", "--Parameters:simulator-seed=11", "--Parameters:simulator-sessions=true"]);
        AllocateEndpoints(builder);

        var simulator = await EnvironmentAsync(builder, "simulator");
        Assert.Equal(("500", "11", "true"), (simulator["simulator_rate"], simulator["simulator_seed"], simulator["simulator_sessions"]));
        Assert.Equal("event_metrics,performance_metrics,session_metrics", (await EnvironmentAsync(builder, "cache"))["cache_kafka_topics"]);
    }

    [Fact]
    public async Task Revenue_IsAThirdType_OfTheServiceAndTheSimulator_IfRequested()
    {
        await using var without = await CreateAsync(Containers);
        await using var with = await CreateAsync([.. Containers, "--revenue", "true"]);
        AllocateEndpoints(without);
        AllocateEndpoints(with);

        foreach (var name in new[] { "cache", "simulator" })
        {
            Assert.DoesNotContain("metric_types", (await EnvironmentAsync(without, name)).Keys);
            Assert.Equal(RevenueType.MetricTypes, (await EnvironmentAsync(with, name))["metric_types"]);
        }

        Assert.DoesNotContain("simulator_types", (await EnvironmentAsync(without, "simulator")).Keys);
        Assert.Equal("event,performance,revenue", (await EnvironmentAsync(with, "simulator"))["simulator_types"]);
    }

    [Fact]
    public async Task Embedded_NeedsNoContainer()
    {
        await using var builder = await CreateAsync(Embedded);

        Assert.DoesNotContain(builder.Resources, resource => resource is ContainerResource);
        Assert.Equal(["kafka", "redis"], Waits(builder, "cache"));
        foreach (var name in new[] { "kafka", "redis" })
        {
            Assert.Superset(new HashSet<string> { "start", "stop", "restart" }, Commands(builder, name));
        }
    }

    [Theory]
    [InlineData("embedded", "container")]
    [InlineData("container", "embedded")]
    public async Task KafkaAndRedis_AreChosenEachByItself(string kafka, string redis)
    {
        await using var builder = await CreateAsync("--kafka", kafka, "--redis", redis);

        Assert.Equal(kafka == "container", Find(builder, "kafka") is ContainerResource);
        Assert.Equal(redis == "container", Find(builder, "redis") is ContainerResource);
    }

    [Fact]
    public async Task External_HasNoSimulator_UnlessRequested()
    {
        await using var without = await CreateAsync("--kafka", "external", "--redis", "external");
        await using var with = await CreateAsync("--kafka", "external", "--redis", "external", "--simulator", "true");

        Assert.DoesNotContain(without.Resources, resource => resource.Name == "simulator");
        Assert.Contains(with.Resources, resource => resource.Name == "simulator");
        Assert.DoesNotContain(without.Resources, resource => resource is ContainerResource);
    }

    [Fact]
    public async Task Commands_PutThePromisesToTheTest_ButNotOnSomebodysRedis()
    {
        await using var embedded = await CreateAsync(Embedded);
        await using var external = await CreateAsync("--kafka", "embedded", "--redis", "external");

        Assert.Superset(new HashSet<string> { "send-burst", "send-malformed" }, Commands(embedded, "simulator"));
        Assert.Contains("lose-data", Commands(embedded, "redis"));
        Assert.NotEmpty(Find(embedded, "redis").Annotations.OfType<ResourceCommandAnnotation>().Single(command => command.Name == "lose-data").ConfirmationMessage!);
        Assert.DoesNotContain("lose-data", Commands(external, "redis"));
    }

    [Fact]
    public async Task Manifest_HasContainersAndTheService_AndNoSimulatorOrSample()
    {
        var resources = await PublishAsync();

        Assert.Contains("confluent-local", resources.GetProperty("kafka").GetProperty("image").GetString());
        Assert.Contains("redis", resources.GetProperty("redis").GetProperty("image").GetString());
        var cache = resources.GetProperty("cache");
        Assert.StartsWith("project.", cache.GetProperty("type").GetString());
        Assert.EndsWith("Cache.Service.csproj", cache.GetProperty("path").GetString());
        Assert.True(cache.GetProperty("bindings").GetProperty("http").GetProperty("external").GetBoolean());
        var environment = cache.GetProperty("env");
        Assert.Equal("{kafka.connectionString}", environment.GetProperty("ConnectionStrings__kafka").GetString());
        Assert.Equal("{redis.connectionString}", environment.GetProperty("ConnectionStrings__redis").GetString());
        Assert.Equal("{cache.bindings.http.targetPort}", environment.GetProperty("HTTP_PORTS").GetString());
        Assert.Equal("true", environment.GetProperty("ASPNETCORE_FORWARDEDHEADERS_ENABLED").GetString());

        // These are for a developer's machine only.
        Assert.False(environment.TryGetProperty("Kafka__allow_auto_create_topics", out _));
        Assert.DoesNotContain(environment.EnumerateObject(), variable => variable.Name.StartsWith("metric_types", StringComparison.Ordinal));
        foreach (var name in new[] { "simulator", "sample", "kafka-ui", "redisinsight" })
        {
            Assert.False(resources.TryGetProperty(name, out _), name);
        }
    }

    [Theory]
    [InlineData("kafka", "redis")]
    [InlineData("redis", "kafka")]
    public async Task Manifest_WithAnExternalServer_AsksForItsConnectionString(string external, string contained)
    {
        var resources = await PublishAsync($"--{external}", "external");

        Assert.False(resources.GetProperty(external).TryGetProperty("image", out _));
        Assert.True(resources.GetProperty(external).TryGetProperty("connectionString", out _));
        Assert.True(resources.GetProperty(contained).TryGetProperty("image", out _));
        Assert.Equal(
            $"{{{external}.connectionString}}",
            resources.GetProperty("cache").GetProperty("env").GetProperty($"ConnectionStrings__{external}").GetString());
    }

    [Fact]
    public async Task Manifest_WithTheSimulator_HasItAndItsRate()
    {
        var resources = await PublishAsync("--simulator", "true");

        var environment = resources.GetProperty("simulator").GetProperty("env");
        Assert.Equal("{simulator-rate.value}", environment.GetProperty("simulator_rate").GetString());
        Assert.Equal("{kafka.connectionString}", environment.GetProperty("ConnectionStrings__kafka").GetString());
        Assert.False(environment.TryGetProperty("ConnectionStrings__redis", out _));
        Assert.DoesNotContain(environment.EnumerateObject(), variable => variable.Name.StartsWith("metric_types", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Manifest_WithRevenue_HasItAsKeys_BecauseBracesAreExpressions()
    {
        var resources = await PublishAsync("--simulator", "true", "--revenue", "true");

        foreach (var name in new[] { "cache", "simulator" })
        {
            var variables = resources.GetProperty(name).GetProperty("env").EnumerateObject()
                .Where(variable => variable.Name.StartsWith("metric_types", StringComparison.Ordinal))
                .ToDictionary(variable => variable.Name.Replace("__", ":", StringComparison.Ordinal), variable => variable.Value.GetString());
            Assert.All(variables.Values, value => Assert.DoesNotContain('{', value!));

            var type = MetricTypesReader.Read(new(new ConfigurationBuilder().AddInMemoryCollection(variables).Build()))[^1];
            Assert.Equal((RevenueType.Name, 5), (type.Name, type.WindowSeconds));
            Assert.Equal([RevenueType.Topic], type.Topics);
            Assert.Equal(["country", "plan"], type.DimensionFields);
            Assert.Equal(["total", "orders"], type.Measures.Select(measure => measure.Name));
        }

        Assert.Equal("event,performance,revenue", resources.GetProperty("simulator").GetProperty("env").GetProperty("simulator_types").GetString());
    }

    private static Task<IDistributedApplicationTestingBuilder> CreateAsync(params string[] args) =>
        DistributedApplicationTestingBuilder.CreateAsync<Projects.Cache_AppHost>(args);

    private static IResource Find(IDistributedApplicationTestingBuilder builder, string name) =>
        Assert.Single(builder.Resources, resource => resource.Name == name);

    private static HashSet<string> Commands(IDistributedApplicationTestingBuilder builder, string name) =>
        [.. Find(builder, name).Annotations.OfType<ResourceCommandAnnotation>().Select(command => command.Name)];

    private static string[] Waits(IDistributedApplicationTestingBuilder builder, string name) =>
        [.. Find(builder, name).Annotations.OfType<WaitAnnotation>().Select(wait =>
        {
            Assert.Equal(WaitType.WaitUntilHealthy, wait.WaitType);
            return wait.Resource.Name;
        }).Order(StringComparer.Ordinal)];

    /// <summary>Allocates ports for the endpoints: nothing is started, so expressions would wait for them forever.</summary>
    private static void AllocateEndpoints(IDistributedApplicationTestingBuilder builder)
    {
        var port = 40000;
        foreach (var endpoint in builder.Resources.SelectMany(resource => resource.Annotations.OfType<EndpointAnnotation>()))
        {
            port++;
            endpoint.AllocatedEndpoint = new AllocatedEndpoint(endpoint, "localhost", port, targetPortExpression: $"{port}");
        }
    }

    private static Task<Dictionary<string, string>> EnvironmentAsync(IDistributedApplicationTestingBuilder builder, string name) =>
        AppHostModel.EnvironmentAsync(Find(builder, name), builder.ExecutionContext);

    /// <summary>Publishes like azd does, and returns the resources of the manifest.</summary>
    private static async Task<JsonElement> PublishAsync(params string[] options)
    {
        var folder = Directory.CreateTempSubdirectory("manifest-");
        try
        {
            var path = Path.Combine(folder.FullName, "manifest.json");
            using var deadline = new CancellationTokenSource(TestTimeout);

            await using var builder = await DistributedApplicationTestingBuilder.CreateAsync<Projects.Cache_AppHost>(
                ["--publisher", "manifest", "--output-path", path, .. options], deadline.Token);
            await using var app = await builder.BuildAsync(deadline.Token);
            await app.StartAsync(deadline.Token);
            while (true)
            {
                try
                {
                    return JsonElement.Parse(await File.ReadAllTextAsync(path, deadline.Token)).GetProperty("resources");
                }
                catch (Exception exception) when (exception is IOException or JsonException)
                {
                    // The file does not exist yet, or is incomplete.
                    await Task.Delay(100, deadline.Token);
                }
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
