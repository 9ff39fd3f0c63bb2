using Cache.Embedded;

// --embedded:        Kafka and Redis inside this process, no container engine needed
// --external-kafka:  published with a connection string in the place of a Kafka container
// --external-redis:  published with a connection string in the place of a Redis container
// --simulator:       published with the simulator
string[] switches = ["--embedded", "--external-kafka", "--external-redis", "--simulator"];
var builder = DistributedApplication.CreateBuilder([.. args.Where(arg => !switches.Contains(arg))]);
var publishing = builder.ExecutionContext.IsPublishMode;
var embedded = !publishing && Asked("--embedded");

await using var embeddedKafka = embedded ? await EmbeddedKafka.StartAsync() : null;
await using var embeddedRedis = embedded ? await EmbeddedRedis.StartAsync() : null;
if (embeddedKafka is not null && embeddedRedis is not null)
{
    Array.ForEach(["event_metrics", "performance_metrics", "cache_dead_letters"], topic => embeddedKafka.CreateTopic(topic));
    builder.Configuration["ConnectionStrings:kafka"] = embeddedKafka.BootstrapServers;
    builder.Configuration["ConnectionStrings:redis"] = embeddedRedis.ConnectionString;
}

IResourceBuilder<IResourceWithConnectionString> kafka = embedded || (publishing && Asked("--external-kafka"))
    ? builder.AddConnectionString("kafka")
    : builder.AddKafka("kafka").WithEnvironment("KAFKA_NUM_PARTITIONS", "6").WithDataVolume().WithKafkaUI();

IResourceBuilder<IResourceWithConnectionString> redis = embedded || (publishing && Asked("--external-redis"))
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

if (!publishing)
{
    // The simulator waits until the service is ready, and that takes partitions: so it is the service that has topics made.
    cache.WithEnvironment("Kafka__allow_auto_create_topics", "true");
}

// A mock broker holds an empty fetch for this long, even when a row comes; a real one answers at once.
cache = embedded ? cache.WithEnvironment("Kafka__fetch_wait_max_ms", "10") : cache;

if (!publishing || Asked("--simulator"))
{
    builder.AddProject<Projects.Cache_Producer_Simulator>("simulator")
        .WithReference(kafka).WaitFor(kafka).WaitFor(cache)
        .WithEnvironment("simulator_rate", builder.AddParameter("simulator-rate"));
}

await builder.Build().RunAsync();

// As a switch, or as configuration: --external-kafka, external_kafka=true, EXTERNAL_KAFKA=true.
bool Asked(string name) =>
    args.Contains(name) || (bool.TryParse(builder.Configuration[name[2..].Replace('-', '_')], out var asked) && asked);
