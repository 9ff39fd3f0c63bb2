using System.Diagnostics;
using OpenTelemetry;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// Drops Redis commands without a parent span. Aspire's Redis integration creates a span for every command, even for the
/// client's own PINGs and for background reads: two single-command traces per second.
/// </summary>
/// <remarks>Processors run in the order in which they were added, and the exporter runs last.</remarks>
internal sealed class LoneRedisCommands : BaseProcessor<Activity>
{
    /// <summary>The activity source of Aspire.StackExchange.Redis.</summary>
    public const string RedisSource = "OpenTelemetry.Instrumentation.StackExchangeRedis";

    /// <inheritdoc/>
    public override void OnEnd(Activity data)
    {
        if (data.ParentSpanId == default && data.Source.Name == RedisSource)
        {
            data.ActivityTraceFlags &= ~ActivityTraceFlags.Recorded;
        }
    }
}
