using System.Buffers;
using System.ComponentModel;
using System.IO.Pipelines;
using Cache.Service.Http.Access;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Mvc;

namespace Cache.Service.Http.Streaming;

/// <summary>
/// <c>GET /stream</c>: every update as a Server-Sent Event. A <c>resync</c> event tells the client to read its data over HTTP
/// and continue from there: at the start, after a gap, and when it was too slow.
/// </summary>
internal static class StreamApi
{
    /// <summary>
    /// Maximum written per flush, even in the middle of an event: the client has to read before more is written. A client that
    /// reads nothing therefore holds no more than its connection's buffer.
    /// </summary>
    public const int MaxUnflushed = 32 * 1024;

    // Longer than a phone is offline in a lift: when it is back, the stream continues.
    private static readonly TimeSpan SlowClientTimeout = TimeSpan.FromSeconds(20);

    private static readonly string Example =
        "event: resync\ndata: {\"reason\":\"start\"}\nid: 9f3c21aa-4711\n\n"
        + $"data: {{\"type\":\"event\",\"window_start\":{ExampleTime.Start},\"fields\":{{\"page_view.count\":2}}}}\nid: 9f3c21aa-4712\n\n"
        + "event: heartbeat\ndata: {}\n\n";

    public static void MapStream(this IEndpointRouteBuilder routes) =>
        routes.MapGet(QueryKey.StreamPath, async (
            [Description("Metric types, or session; all by default.")] string? types,
            [Description(DimensionFilter.Description)] string? dimensions,
            [Description("Whether to send the events pipeline and fleet as well, with the answers of the routes of these names, right away and every few seconds.")] string? state,
            [FromHeader(Name = "Last-Event-ID"), Description("The last event id that the client saw. Browsers send it when they reconnect.")] string? lastEventId,
            HttpContext context, UpdateHub hub, StateFeed feed, StreamFilters filters, StreamLimiter limiter, UnsentBytes unsent, StreamMetrics metrics, IHostApplicationLifetime lifetime) =>
        {
            var errors = new Dictionary<string, string[]>();
            var wanted = (types ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
            if (Array.Find(wanted, type => !hub.Latest.Types.Contains(type)) is not null)
            {
                errors["types"] = [$"types accepts {string.Join(", ", hub.Latest.Types)}, comma-separated"];
            }

            if (!bool.TryParse(state ?? bool.FalseString, out var hasState))
            {
                errors["state"] = ["state must be true or false"];
            }

            if (errors.Count > 0)
            {
                await ApiAnswers.WriteErrorsAsync(context, errors);
                return;
            }

            var client = Clients.Of(context);
            if (limiter.Enter(client) is not StreamAdmission.Admitted and var refused)
            {
                await RefuseAsync(context, refused);
                return;
            }

            metrics.Opened();
            var stream = hub.Open(lastEventId);
            try
            {
                var events = new StreamEvents(hub, stream, filters.Of(wanted, dimensions), hasState ? feed.Open(stream) : null);
                await SendAsync(context, stream, events, unsent, metrics, lifetime.ApplicationStopping);
            }
            finally
            {
                feed.Close(stream);
                hub.Close(stream);
                metrics.Closed();
                limiter.Leave(client);
            }
        })
        .WithName("get_stream").WithTags("Stream").WithSummary("Every update, as Server-Sent Events")
        .WithDescription("On a `resync` event, read your data over HTTP and continue from there. A `heartbeat` is sent every 15 s. "
            + "With `state=true`, `pipeline` is sent every 2 s and `fleet` every 5 s; both have no id.")
        .WithMetadata(
            DescribedParameter.SomeOf("types", routes.ServiceProvider.GetRequiredService<UpdateHub>().Latest.Types), DescribedParameter.Flag("state"),
            DescribedAnswer.TooMany,
            DescribedAnswer.Text("text/event-stream", Example),
            DescribedAnswer.BadParameter("types", "types accepts event, performance, session, comma-separated"),
            DescribedAnswer.Problem(StatusCodes.Status503ServiceUnavailable, "This replica has its maximum number of streams open. `Retry-After` is the number of seconds to wait."));

    private static async Task SendAsync(HttpContext context, StreamClient client, StreamEvents events, UnsentBytes unsent, StreamMetrics metrics, CancellationToken stopping)
    {
        // An open stream must not hold up the shutdown.
        await using var stops = stopping.UnsafeRegister(static client => ((StreamClient)client!).End(), client);
        await using var aborted = context.RequestAborted.UnsafeRegister(static client => ((StreamClient)client!).End(), client);
        var response = context.Response;
        response.ContentType = "text/event-stream";
        response.Headers.CacheControl = "no-cache, no-store";

        // nginx would otherwise buffer events.
        response.Headers["X-Accel-Buffering"] = "no";
        if (HttpMethods.IsHead(context.Request.Method))
        {
            return;
        }

        context.Features.GetRequiredFeature<IHttpResponseBodyFeature>().DisableBuffering();
        try
        {
            // The first heartbeat flushes the headers, so that the client knows that it is connected.
            var body = response.BodyWriter;
            ReadOnlyMemory<byte> rest = default;
            client.OnCut(context.Abort);
            client.Heartbeat();
            while (true)
            {
                client.ResetWake();
                if (!Write(body, events, ref rest))
                {
                    if (!await client.WaitAsync())
                    {
                        return;
                    }

                    continue;
                }

                var flush = body.FlushAsync(stopping);
                if (!(flush.IsCompletedSuccessfully ? !flush.Result.IsCompleted : await IsReadAsync(flush.AsTask(), context, client, rest, unsent, metrics)))
                {
                    return;
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The service is stopping while the client reads nothing.
        }
    }

    /// <summary>Waits for a slow client; returns false if it is gone, or has read nothing and is cut off.</summary>
    private static async Task<bool> IsReadAsync(
        Task<FlushResult> flush, HttpContext context, StreamClient client, ReadOnlyMemory<byte> rest, UnsentBytes unsent, StreamMetrics metrics)
    {
        unsent.Add(client, rest);
        try
        {
            return !(await flush.WaitAsync(SlowClientTimeout)).IsCompleted;
        }
        catch (TimeoutException)
        {
            metrics.Cut(StreamCutReason.TakesNothing);
            context.Abort();
            await ((Task)flush).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
            return false;
        }
        finally
        {
            unsent.Remove(client);
        }
    }

    /// <summary>Writes pending events up to the maximum, starting with the rest of an unfinished one; returns whether there were any.</summary>
    private static bool Write(PipeWriter body, StreamEvents events, ref ReadOnlyMemory<byte> rest)
    {
        var room = MaxUnflushed;
        while (room > 0 && (!rest.IsEmpty || events.TryNext(out rest)))
        {
            var piece = rest[..Math.Min(rest.Length, room)];
            body.Write(piece.Span);
            rest = rest[piece.Length..];
            room -= piece.Length;
        }

        return room < MaxUnflushed;
    }

    private static Task RefuseAsync(HttpContext context, StreamAdmission refused)
    {
        context.Response.Headers.RetryAfter = "10";
        return (refused == StreamAdmission.ClientIsAtLimit
            ? Results.Problem(statusCode: StatusCodes.Status429TooManyRequests, title: "Too many streams from this client",
                detail: "A client may have at most stream_max_clients_per_client streams open.")
            : Results.Problem(statusCode: StatusCodes.Status503ServiceUnavailable, title: "Too many streams",
                detail: "This replica has stream_max_clients streams open, the maximum. Retry later, or on another replica."))
            .ExecuteAsync(context);
    }
}
