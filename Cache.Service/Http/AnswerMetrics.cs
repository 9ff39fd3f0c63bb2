using System.Diagnostics.Metrics;
using Cache.Service.Telemetry;

namespace Cache.Service.Http;

/// <summary>Instruments for large answers.</summary>
internal sealed class AnswerMetrics
{
    private readonly Total _held = new();
    private readonly Total _refused = new();
    private readonly Total _cut = new();

    public AnswerMetrics(IMeterFactory meters)
    {
        var meter = ServiceMeter.Of(meters);
        meter.CreateObservableUpDownCounter("cache.answers.held", () => _held.Value, unit: "By", description: "Memory held by large answers while they are read and sent.");
        meter.CreateObservableCounter("cache.answers.refused", () => _refused.Value, description: "Large answers refused because others held all the memory reserved for them.");
        meter.CreateObservableCounter("cache.answers.cut", () => _cut.Value, description: "Answers cut off because Redis failed after their first bytes were sent.");
    }

    public void Hold(long bytes) => _held.Add(bytes);

    public void Refused() => _refused.Add(1);

    public void Cut() => _cut.Add(1);
}
