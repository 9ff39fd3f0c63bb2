using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Cache.Benchmarks;

/// <summary>
/// <c>tracing</c>: a backlog whose rows carry a trace, with telemetry absent; sampled out (no row's trace and one flush in a
/// hundred is sampled, as docs/deploy.md advises); and exported, with the spans of every row and every flush.
/// </summary>
internal static class TracingVerb
{
    public static async Task RunAsync(Run run)
    {
        run.Conditions(Backlog.Partitions);
        // Many short rounds: the noise in a single one is as large as the difference to be measured.
        var rows = run.Quick ? 100_000L : 200_000L;
        await using var collector = await StartCollectorAsync();
        string[] export = ["--OTEL_EXPORTER_OTLP_ENDPOINT", AddressOf(collector), "--OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"];
        var costs = await Variant.MeasureTogetherAsync(
            run,
            new("absent", new(rows, Trace: "00")),
            new("sampled_out", new(rows, Trace: "00"), 1, [.. export, "--OTEL_TRACES_SAMPLER", "parentbased_traceidratio", "--OTEL_TRACES_SAMPLER_ARG", "0.01"]),
            new("exported", new(rows, Trace: "01"), 1, export));
        foreach (var (name, rounds) in costs)
        {
            run.Report.Add($"tracing_{name}_cpu_us_per_row", "µs", rounds);
        }

        run.Report.AddRatio("tracing_off_cost", costs["sampled_out"], costs["absent"]);
        run.Report.AddRatio("tracing_on_cost", costs["exported"], costs["absent"]);
    }

    /// <summary>Starts a collector that accepts everything and drops it.</summary>
    private static async Task<WebApplication> StartCollectorAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        var app = builder.Build();
        app.Run(async context => await context.Request.Body.CopyToAsync(Stream.Null));
        await app.StartAsync();
        return app;
    }

    private static string AddressOf(WebApplication app) =>
        app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
}
