namespace Cache.Service.Partitions;

/// <summary>The registration of who owns what.</summary>
internal static class PartitionsSetup
{
    public static IServiceCollection AddPartitions(this IServiceCollection services) => services
        .AddSingleton<Assignment>()
        .AddSingleton<RebuildRequests>();
}
