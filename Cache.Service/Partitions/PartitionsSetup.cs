namespace Cache.Service.Partitions;

/// <summary>Registers what tracks the ownership of partitions.</summary>
internal static class PartitionsSetup
{
    public static IServiceCollection AddPartitions(this IServiceCollection services) => services
        .AddSingleton<Assignment>()
        .AddSingleton<RebuildRequests>();
}
