namespace Cache.Service.Http.Streaming;

/// <summary>The registration of streams.</summary>
internal static class StreamingSetup
{
    public static IServiceCollection AddStreaming(this IServiceCollection services) => services
        .AddSingleton<StreamFilters>()
        .AddSingleton<UnsentBytes>();
}
