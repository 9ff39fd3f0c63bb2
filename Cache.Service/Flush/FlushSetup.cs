namespace Cache.Service.Flush;

/// <summary>
/// Registers the stage that writes batches. All of its classes log as <see cref="FlushWorker"/>: one category to filter on.
/// </summary>
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
