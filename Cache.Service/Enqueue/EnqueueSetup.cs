using OpenTelemetry.Metrics;

namespace Cache.Service.Enqueue;

/// <summary>The registration of the queue.</summary>
internal static class EnqueueSetup
{
    public static IServiceCollection AddEnqueue(this IServiceCollection services) => services
        .AddSingleton<RowQueue>()
        .AddSingleton<QueueMetrics>()

        // Nobody asks for gauges: they are there as soon as metrics are collected.
        .ConfigureOpenTelemetryMeterProvider(metrics => metrics.AddInstrumentation(provider => provider.GetRequiredService<QueueMetrics>()));
}
