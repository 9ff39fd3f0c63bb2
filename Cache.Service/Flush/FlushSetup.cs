namespace Cache.Service.Flush;

/// <summary>The registration of writing batches.</summary>
internal static class FlushSetup
{
    public static IServiceCollection AddFlush(this IServiceCollection services) => services
        .AddSingleton<FlushMetrics>()
        .AddSingleton<BatchRetry>()
        .AddSingleton<WriteGuard>()
        .AddSingleton<DeadLetterFlush>()
        .AddSingleton<BatchWriter>()
        .AddHostedService<FlushWorker>();
}
