using Cache.Embedded;

// --embedded:        Kafka and Redis inside this process, no container engine needed
// --external-kafka:  published with a connection string in the place of a Kafka container
// --external-redis:  published with a connection string in the place of a Redis container
// --simulator:       published with the simulator
string[] switches = ["--embedded", "--external-kafka", "--external-redis", "--simulator"];
var builder = DistributedApplication.CreateBuilder([.. args.Except(switches)]);
var publishing = builder.ExecutionContext.IsPublishMode;

await using var embeddedKafka = Asked("--embedded") ? await EmbeddedKafka.StartAsync() : null;
await using var embeddedRedis = Asked("--embedded") ? await EmbeddedRedis.StartAsync() : null;
if (embeddedKafka is not null && embeddedRedis is not null)
{
    foreach (var topic in new[] { "event_metrics", "performance_metrics", "cache_dead_letters" })
    {
        embeddedKafka.CreateTopic(topic);
    }

    builder.Configuration["ConnectionStrings:kafka"] = embeddedKafka.BootstrapServers;
    builder.Configuration["ConnectionStrings:redis"] = embeddedRedis.ConnectionString;
}

IResourceBuilder<IResourceWithConnectionString> kafka = embeddedKafka is not null || (publishing && Asked("--external-kafka"))
    ? builder.AddConnectionString("kafka")
    : builder.AddKafka("kafka").WithDataVolume().WithKafkaUI();

IResourceBuilder<IResourceWithConnectionString> redis = embeddedRedis is not null || (publishing && Asked("--external-redis"))
    ? builder.AddConnectionString("redis")
    : builder.AddRedis("redis").WithDataVolume().WithRedisInsight();

var cache = builder.AddProject<Projects.Cache_Service>("cache")
    .WithReference(kafka).WaitFor(kafka)
    .WithReference(redis).WaitFor(redis)
    .WithReplicas(2)
    .WithExternalHttpEndpoints()
    .WithHttpHealthCheck("/readyz")
    .WithUrlForEndpoint("http", url => url.DisplayText = "Live page")
    .WithUrlForEndpoint("http", _ => new() { Url = "/scalar", DisplayText = "API" })
    .WithUrlForEndpoint("http", _ => new() { Url = "/metrics", DisplayText = "Metrics" });

if (!publishing || Asked("--simulator"))
{
    builder.AddProject<Projects.Cache_Producer_Simulator>("simulator")
        .WithReference(kafka)
        .WaitFor(cache)
        .WithEnvironment("simulator_rate", builder.AddParameter("simulator-rate", "20", publishValueAsDefault: true));
}

await builder.Build().RunAsync();

// As a switch, or as configuration: --external-kafka, external_kafka=true, EXTERNAL_KAFKA=true.
bool Asked(string name) =>
    args.Contains(name) || bool.TryParse(builder.Configuration[name[2..].Replace('-', '_')], out var asked) && asked;
