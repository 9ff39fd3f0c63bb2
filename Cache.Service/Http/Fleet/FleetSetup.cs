namespace Cache.Service.Http.Fleet;

/// <summary>Registers what replicas tell each other of themselves.</summary>
internal static class FleetSetup
{
    public static IServiceCollection AddFleet(this IServiceCollection services) => services
        .AddSingleton<OwnReplica>()
        .AddSingleton<ReplicaStore>()
        .AddSingleton<FleetReader>()
        .AddHostedService<ReplicaPublisher>();
}
