using OpenTelemetry.Metrics;

namespace Cache.Service.Enqueue;

/// <summary>Registers the queue.</summary>
internal static class EnqueueSetup
{
    public static IServiceCollection AddEnqueue(this IServiceCollection services) => services
        .AddSingleton<RowQueue>()
        .AddSingleton<QueueMetrics>()

        // Nothing injects the gauges, so they are created together with the meter provider.
        .ConfigureOpenTelemetryMeterProvider(metrics => metrics.AddInstrumentation(provider => provider.GetRequiredService<QueueMetrics>()));
}
