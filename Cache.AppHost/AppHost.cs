using System.Globalization;
using Cache.AppHost;
using Cache.Embedded;
using Cache.Metrics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

var arguments = AppHostCommand.Read(args);
if (arguments.Answer(Console.Out))
{
    return 0;
}

var builder = DistributedApplication.CreateBuilder(args);
var publishing = builder.ExecutionContext.IsPublishMode;
StackChoices choices;
try
{
    choices = StackChoices.Choose(args, builder.Configuration, publishing, () => ContainerEngine.Find(builder.Configuration["ASPIRE_CONTAINER_RUNTIME"], ContainerEngine.Timeout));
}
catch (FormatException exception)
{
    Console.Error.WriteLine(exception.Message);
    return 1;
}

if (arguments.Errors.Count > 0)
{
    Console.Error.WriteLine(new ConfigurationException(arguments.Errors).Message);
    Console.Error.WriteLine("--help lists the options.");
    return 1;
}

if (!publishing)
{
    Console.WriteLine(choices);
    builder.Services.AddHostedService<ProjectsStopFirst>();
}

IResourceBuilder<IResourceWithConnectionString> kafka = choices.Kafka switch
{
    ServerMode.Embedded => builder.AddEmbeddedKafka("kafka", choices.Revenue),
    ServerMode.External => builder.AddConnectionString("kafka"),
    _ => builder.AddKafka("kafka").WithEnvironment("KAFKA_NUM_PARTITIONS", "6").WithDataVolume().WithKafkaUI(),
};

IResourceBuilder<IResourceWithConnectionString> redis = choices.Redis switch
{
    ServerMode.Embedded => builder.AddEmbeddedRedis("redis").WithDataLossCommand(),
    ServerMode.External => builder.AddConnectionString("redis"),
    _ => builder.AddRedis("redis").WithDataVolume().WithRedisInsight().WithDataLossCommand(),
};

var cache = builder.AddProject<Projects.Cache_Service>("cache")
    .WithReference(kafka).WaitFor(kafka)
    .WithReference(redis).WaitFor(redis)
    .WithReplicas(2)
    .WithExternalHttpEndpoints()
    .WithHttpHealthCheck("/readyz")
    .WithUrlForEndpoint("http", url => url.DisplayText = "Live page")
    .WithUrlForEndpoint("http", _ => new() { Url = "/scalar", DisplayText = "API" })
    .WithUrlForEndpoint("http", _ => new() { Url = "/metrics", DisplayText = "Metrics" });

if (!publishing)
{
    cache.WithLinksInTheLog(choices.Kafka == ServerMode.External ? null : kafka.Resource);
}

if (choices.Kafka == ServerMode.Embedded)
{
    cache.WithEmbeddedKafkaSettings();
}

if (choices.Revenue)
{
    cache.WithRevenue(publishing);
}

if (choices.Simulator)
{
    var simulator = builder.AddProject<Projects.Cache_Producer_Simulator>("simulator")
        .WithReference(kafka).WaitFor(kafka).WaitFor(cache)
        .WithEnvironment("simulator_rate", builder.AddParameter("simulator-rate"));
    if (choices.Revenue)
    {
        simulator.WithRevenue(publishing).WithEnvironment("simulator_types", RevenueType.SimulatorTypes);
    }

    if (!publishing)
    {
        var sessions = builder.AddParameter("simulator-sessions");
        simulator
            .WithEnvironment("simulator_seed", builder.AddParameter("simulator-seed"))
            .WithEnvironment("simulator_sessions", sessions)
            // With a seed, it would otherwise start in 2025.
            .WithEnvironment(context => context.EnvironmentVariables["simulator_start"] = TimeProvider.System.GetUtcNow().ToString("O", CultureInfo.InvariantCulture))
            .WithRowCommands(kafka.Resource, choices.Revenue ? [$"--{MetricTypesReader.Key}={RevenueType.MetricTypes}", $"--types={RevenueType.SimulatorTypes}"] : []);
        cache.WithSessions(sessions.Resource);

        // The simulator waits until the service is ready, which requires partitions, so the service has to create the topics.
        cache.WithEnvironment("Kafka__allow_auto_create_topics", "true");
    }
}

// An example for developers, like the simulator's rows.
if (!publishing)
{
    builder.AddProject<Projects.Cache_Sample>("sample").WithReference(cache).WaitFor(cache);
}

await builder.Build().RunAsync();
return 0;
