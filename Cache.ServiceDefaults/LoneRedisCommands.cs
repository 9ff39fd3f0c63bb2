using System.Diagnostics;
using OpenTelemetry;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// Keeps Redis commands without a parent span from being exported. Aspire's Redis integration makes a span of every command,
/// also of the client's own PINGs and of what background work reads: traces of one command each, two a second.
/// </summary>
/// <remarks>Processors run in the order in which they were added, and the exporter comes last.</remarks>
internal sealed class LoneRedisCommands : BaseProcessor<Activity>
{
    /// <summary>The source of Aspire.StackExchange.Redis.</summary>
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
