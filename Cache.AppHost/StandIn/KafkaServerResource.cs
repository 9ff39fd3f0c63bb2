namespace Aspire.Hosting;

/// <summary>Stand-in for the resource of the same name in Aspire.Hosting.Kafka (docs/decisions/0002).</summary>
/// <param name="name">Name of the resource, its connection string, and its host in the container network.</param>
public class KafkaServerResource(string name) : ContainerResource(name), IResourceWithConnectionString
{
    internal const string HostEndpoint = "tcp";
    internal const string ContainerEndpoint = "internal";

    /// <summary>The endpoint for clients on this machine.</summary>
    public EndpointReference PrimaryEndpoint => new(this, HostEndpoint);

    /// <summary>The endpoint for clients in containers.</summary>
    public EndpointReference InternalEndpoint => new(this, ContainerEndpoint);

    /// <summary>The bootstrap server, <c>host:port</c>.</summary>
    public ReferenceExpression ConnectionStringExpression => ReferenceExpression.Create($"{PrimaryEndpoint.Property(EndpointProperty.HostAndPort)}");

    IEnumerable<KeyValuePair<string, ReferenceExpression>> IResourceWithConnectionString.GetConnectionProperties() =>
    [
        new("Host", ReferenceExpression.Create($"{PrimaryEndpoint.Property(EndpointProperty.Host)}")),
        new("Port", ReferenceExpression.Create($"{PrimaryEndpoint.Property(EndpointProperty.Port)}")),
    ];
}
