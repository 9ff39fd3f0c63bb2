namespace Cache.Service.Http.Streaming;

/// <summary>Registers streams.</summary>
internal static class StreamingSetup
{
    public static IServiceCollection AddStreaming(this IServiceCollection services) => services
        .AddSingleton<StreamFilters>()
        .AddSingleton<UnsentBytes>()
        .AddSingleton<StateFeed>()
        .AddHostedService(provider => provider.GetRequiredService<StateFeed>());
}
