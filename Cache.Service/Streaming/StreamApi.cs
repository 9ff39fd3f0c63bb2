using System.Buffers;
using System.ComponentModel;
using System.IO.Pipelines;
using System.Text;
using Cache.Service.Protect;
using Cache.Service.Query;
using Cache.Service.Telemetry;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Mvc;

namespace Cache.Service.Streaming;

/// <summary>
/// <c>GET /stream</c>: every update as a Server-Sent Event. A <c>resync</c> event tells the client to read over HTTP what
/// it shows, and to go on from there: at the start, after a gap, and when it was too slow.
/// </summary>
internal static class StreamApi
{
    /// <summary>The route.</summary>
    public const string Path = "/stream";

    // What waits for the network at most before the next look at the updates.
    private const int MostUnflushed = 64 * 1024;

    private const string Example =
        "event: resync\ndata: {\"reason\":\"start\"}\nid: 9f3c21aa-4711\n\n"
        + "data: {\"type\":\"event\",\"window_start\":1710000000000,\"fields\":{\"page_view.count\":2}}\nid: 9f3c21aa-4712\n\n"
        + "event: heartbeat\ndata: {}\n\n";

    private static readonly string[] Types = ["event", "performance", "session"];

    public static void MapStream(this IEndpointRouteBuilder routes) =>
        routes.MapGet(Path, async (
            [Description("event, performance, session, with commas; all by default.")] string? types,
            [Description(DimensionFilter.Description)] string? dimensions,
            [FromHeader(Name = "Last-Event-ID"), Description("The id that was seen last; browsers send it by themselves when they come back.")] string? lastEventId,
            HttpContext context, UpdateHub hub, StreamFilters filters, StreamPlaces places, CacheMetrics metrics, IHostApplicationLifetime lifetime) =>
        {
            var wanted = (types ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
            if (Array.Find(wanted, type => !Types.Contains(type)) is not null)
            {
                var all = string.Join(", ", Types);
                await Results.ValidationProblem(new Dictionary<string, string[]> { ["types"] = [$"types takes {all}"] }, detail: $"types takes {all}, with commas.")
                    .ExecuteAsync(context);
                return;
            }

            var client = Clients.Of(context);
            if (places.Enter(client) is not Place.Got and var taken)
            {
                await RefuseAsync(context, taken);
                return;
            }

            metrics.StreamOpened();
            try
            {
                await SendAsync(context, hub, hub.Open(lastEventId), filters.Of(wanted, dimensions), lifetime.ApplicationStopping);
            }
            finally
            {
                metrics.StreamClosed();
                places.Leave(client);
            }
        })
        .WithTags("Stream").WithSummary("Every update, as Server-Sent Events")
        .WithDescription("A `resync` event asks to read over HTTP what is shown, and to go on from there. A `heartbeat` comes every 15 s.")
        .WithMetadata(
            DescribedAnswer.Text("text/event-stream", Example),
            DescribedAnswer.BadParameter("types", "types takes event, performance, session"),
            DescribedAnswer.Problem(StatusCodes.Status503ServiceUnavailable, "This replica has as many streams as it takes; `Retry-After` tells the seconds to wait."));

    private static async Task SendAsync(HttpContext context, UpdateHub hub, StreamClient client, StreamFilter filter, CancellationToken stopping)
    {
        // An open stream must not hold up the shutdown.
        await using var stops = stopping.UnsafeRegister(static client => ((StreamClient)client!).End(), client);
        await using var aborted = context.RequestAborted.UnsafeRegister(static client => ((StreamClient)client!).End(), client);
        var response = context.Response;
        response.ContentType = "text/event-stream";
        response.Headers.CacheControl = "no-cache, no-store";

        // For nginx, which would keep events back until it has a bufferful.
        response.Headers["X-Accel-Buffering"] = "no";
        context.Features.GetRequiredFeature<IHttpResponseBodyFeature>().DisableBuffering();
        try
        {
            // With the first heartbeat go the headers, so that the client knows that it is connected.
            var events = response.BodyWriter;
            client.Beat();
            while (true)
            {
                client.Awake();
                if (!Write(events, hub, client, filter))
                {
                    if (!await client.WaitAsync())
                    {
                        return;
                    }
                }
                else if ((await events.FlushAsync(stopping)).IsCompleted)
                {
                    return;
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The service stops, and the client takes nothing.
        }
        finally
        {
            hub.Close(client);
        }
    }

    /// <summary>Writes what there is, up to a limit; whether there was anything.</summary>
    private static bool Write(PipeWriter events, UpdateHub hub, StreamClient client, StreamFilter filter)
    {
        var written = 0;
        if (client.TakeBeat())
        {
            written += Write(events, "event: heartbeat\ndata: {}\n\n"u8);
        }

        while (written < MostUnflushed && client.TryTake(out var next))
        {
            written += next.Update is { } update ? Write(events, filter.Apply(update).Span) : Write(events, Resync(hub, next));
        }

        return written > 0;
    }

    private static byte[] Resync(UpdateHub hub, StreamItem item) =>
        Encoding.ASCII.GetBytes($$"""event: resync{{'\n'}}data: {"reason":"{{item.Resync}}"}{{'\n'}}id: {{hub.IdOf(item.Number)}}{{"\n\n"}}""");

    private static int Write(PipeWriter events, ReadOnlySpan<byte> bytes)
    {
        events.Write(bytes);
        return bytes.Length;
    }

    private static Task RefuseAsync(HttpContext context, Place taken)
    {
        context.Response.Headers.RetryAfter = "10";
        return (taken == Place.OwnTaken
            ? Results.Problem(statusCode: StatusCodes.Status429TooManyRequests, title: "Too many streams of this client",
                detail: "One client has stream_max_clients_per_client streams open at most.")
            : Results.Problem(statusCode: StatusCodes.Status503ServiceUnavailable, title: "No place for another stream",
                detail: "This replica has stream_max_clients streams open, and takes no more. Another may, or this one later."))
            .ExecuteAsync(context);
    }
}
