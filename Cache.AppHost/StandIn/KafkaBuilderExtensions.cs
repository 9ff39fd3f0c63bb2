using Cache.AppHost;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting;

/// <summary>
/// Stand-in for Aspire.Hosting.Kafka (docs/decisions/0002): the methods that this AppHost calls, with the same images, ports
/// and settings. Its health check asks for the brokers and does not produce messages.
/// </summary>
public static class KafkaBuilderExtensions
{
    private const int HostPort = 9092;
    private const int ContainerPort = 9093;
    private const string DataFolder = "/var/lib/kafka/data";

    /// <summary>Adds a single broker in KRaft mode, as a container.</summary>
    /// <param name="builder">The application.</param>
    /// <param name="name">Name of the resource and of its connection string.</param>
    /// <param name="port">The port on this machine, 1 to 65535; null for a free one.</param>
    public static IResourceBuilder<KafkaServerResource> AddKafka(this IDistributedApplicationBuilder builder, [ResourceName] string name, int? port = null)
    {
        var kafka = new KafkaServerResource(name);
        string? address = null;
        builder.Eventing.Subscribe<ConnectionStringAvailableEvent>(
            kafka, async (_, cancellationToken) => address = await kafka.ConnectionStringExpression.GetValueAsync(cancellationToken));
        var check = $"{name}_check";
        builder.Services.AddHealthChecks().Add(new HealthCheckRegistration(check, _ => new KafkaHealthCheck(() => address), failureStatus: null, tags: null));

        return builder.AddResource(kafka)
            .WithImage("confluentinc/confluent-local", "8.2.0")
            .WithImageRegistry("docker.io")
            .WithEndpoint(targetPort: HostPort, port: port, name: KafkaServerResource.HostEndpoint)
            .WithEndpoint(targetPort: ContainerPort, name: KafkaServerResource.ContainerEndpoint)
            .WithEnvironment(context => Configure(context, kafka))
            .WithHealthCheck(check);
    }

    /// <summary>Keeps the data in a volume that outlives the container.</summary>
    /// <param name="builder">The broker.</param>
    /// <param name="name">Name of the volume; if null, derived from the names of the application and the resource.</param>
    /// <param name="isReadOnly">Whether the volume is read-only.</param>
    public static IResourceBuilder<KafkaServerResource> WithDataVolume(
        this IResourceBuilder<KafkaServerResource> builder, string? name = null, bool isReadOnly = false) =>
        builder.WithEnvironment("KAFKA_LOG_DIRS", DataFolder).WithVolume(name ?? VolumeNameGenerator.Generate(builder, "data"), DataFolder, isReadOnly);

    /// <summary>Adds a web page for browsing the topics; it is not published.</summary>
    /// <param name="builder">The broker.</param>
    /// <param name="configureContainer">Configures the container.</param>
    /// <param name="containerName">Name of the resource; <c>kafka-ui</c> if null.</param>
    public static IResourceBuilder<KafkaServerResource> WithKafkaUI(
        this IResourceBuilder<KafkaServerResource> builder,
        Action<IResourceBuilder<KafkaUIContainerResource>>? configureContainer = null,
        string? containerName = null)
    {
        var kafka = builder.Resource;
        var page = builder.ApplicationBuilder.AddResource(new KafkaUIContainerResource(containerName ?? "kafka-ui"))
            .WithImage("kafbat/kafka-ui", "v1.5.0")
            .WithImageRegistry("docker.io")
            .WithHttpEndpoint(targetPort: 8080)
            .WithEnvironment("KAFKA_CLUSTERS_0_NAME", kafka.Name)
            .WithEnvironment("KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS", ReferenceExpression.Create($"{kafka.Name}:{kafka.InternalEndpoint.Property(EndpointProperty.TargetPort)}"))
            .ExcludeFromManifest();
        configureContainer?.Invoke(page);
        return builder;
    }

    private static void Configure(EnvironmentCallbackContext context, KafkaServerResource kafka)
    {
        var (host, container) = (kafka.PrimaryEndpoint, kafka.InternalEndpoint);
        var environment = context.EnvironmentVariables;
        environment["KAFKA_LISTENERS"] =
            $"PLAINTEXT://localhost:29092,CONTROLLER://localhost:29093,PLAINTEXT_HOST://0.0.0.0:{HostPort},PLAINTEXT_INTERNAL://0.0.0.0:{ContainerPort}";
        environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"] =
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT,PLAINTEXT_INTERNAL:PLAINTEXT";

        // The addresses that clients reconnect to: this machine's port on the machine, the resource's name in a container.
        environment["KAFKA_ADVERTISED_LISTENERS"] = context.ExecutionContext.IsRunMode
            ? ReferenceExpression.Create(
                $"PLAINTEXT://localhost:29092,PLAINTEXT_HOST://localhost:{host.Property(EndpointProperty.Port)},PLAINTEXT_INTERNAL://{kafka.Name}:{container.Property(EndpointProperty.TargetPort)}")
            : ReferenceExpression.Create(
                $"PLAINTEXT://{host.Property(EndpointProperty.Host)}:29092,PLAINTEXT_HOST://{host.Property(EndpointProperty.HostAndPort)},PLAINTEXT_INTERNAL://{container.Property(EndpointProperty.HostAndPort)}");
    }
}

/// <summary>Stand-in for the resource of the same name in Aspire.Hosting.Kafka.</summary>
/// <param name="name">Name of the resource.</param>
public sealed class KafkaUIContainerResource(string name) : ContainerResource(name);
