using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Runtime.CompilerServices;
using OpenTelemetry;
using StackExchange.Redis.Profiling;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// Makes a span of each Redis command: the client's profiler collects the commands sent under an activity, and when that
/// activity ends they become its children. A command that ends after its parent leaves no span, nor does one sent under
/// no sampled activity, for which nothing is collected either.
/// </summary>
internal sealed class RedisCommandSpans : BaseProcessor<Activity>
{
    public const string SourceName = "OpenTelemetry.Instrumentation.StackExchangeRedis";

    // Bounds what an activity that lasts for hours can collect; a flush of 50 windows sends some 250 commands.
    private const int MaxCommands = 1000;

    private static readonly ActivitySource Source = new(SourceName);

    // Weak, so that an activity that is never stopped takes its commands with it.
    private static readonly ConditionalWeakTable<Activity, Commands> Collected = [];

    /// <summary>Where the client records the command that it is about to send; null: nowhere.</summary>
    public static ProfilingSession? Session()
    {
        if (Activity.Current is not { Recorded: true, IsAllDataRequested: true, IsStopped: false } parent
            || !Source.HasListeners())
        {
            return null;
        }

        var commands = Collected.GetValue(parent, static _ => new Commands());
        return Interlocked.Increment(ref commands.Count) <= MaxCommands ? commands.Session : null;
    }

    /// <inheritdoc/>
    public override void OnEnd(Activity data)
    {
        if (Collected.Remove(data, out var commands))
        {
            foreach (var command in commands.Session.FinishProfiling())
            {
                Emit(data.Context, command);
            }
        }
    }

    private static void Emit(ActivityContext parent, IProfiledCommand command)
    {
        using var span = Source.StartActivity(
            command.Command, ActivityKind.Client, parent, tags: null, links: null, command.CommandCreated);
        if (span is null)
        {
            return;
        }

        span.SetTag("db.system.name", "redis");
        span.SetTag("db.operation.name", command.Command);
        if (command.Db >= 0)
        {
            span.SetTag("db.namespace", command.Db.ToString(CultureInfo.InvariantCulture));
        }

        switch (command.EndPoint)
        {
            case DnsEndPoint dns:
                span.SetTag("server.address", dns.Host);
                span.SetTag("server.port", dns.Port);
                break;
            case IPEndPoint ip:
                span.SetTag("server.address", ip.Address.ToString());
                span.SetTag("server.port", ip.Port);
                break;
            case { } other:
                span.SetTag("server.address", other.ToString());
                break;
        }

        span.SetEndTime(command.CommandCreated + command.ElapsedTime);
    }

    private sealed class Commands
    {
        public int Count;

        public ProfilingSession Session { get; } = new();
    }
}
