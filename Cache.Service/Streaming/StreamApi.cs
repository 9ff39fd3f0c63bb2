using System.ComponentModel;
using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using Cache.Service.Telemetry;
using Microsoft.AspNetCore.Mvc;

namespace Cache.Service.Streaming;

/// <summary>
/// <c>GET /stream</c>: every update as a Server-Sent Event. A <c>resync</c> event tells the client to read over HTTP what
/// it shows, and to go on from there: at the start, after a gap, and when it was too slow.
/// </summary>
internal static class StreamApi
{
    private static readonly string[] Types = ["event", "performance", "session"];

    // Below the minute after which proxies close a silent connection.
    private static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(15);

    public static void MapStream(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/stream", IResult (
            [Description("event, performance, session, with commas; all by default.")] string? types,
            [Description("Event types and device categories (of sessions too), with commas; all by default.")] string? dimensions,
            [FromHeader(Name = "Last-Event-ID")] string? lastEventId,
            HttpContext context, UpdateHub hub, CacheMetrics metrics, TimeProvider time, IHostApplicationLifetime lifetime) =>
        {
            var wanted = List(types);
            if (wanted.Find(type => !Types.Contains(type)) is { } unknown)
            {
                return Results.ValidationProblem(new Dictionary<string, string[]> { ["types"] = [$"{unknown} is none of {string.Join(", ", Types)}"] },
                    detail: $"types takes {string.Join(", ", Types)}, with commas.");
            }

            var filter = new StreamFilter(wanted, List(dimensions));
            return TypedResults.ServerSentEvents(EventsAsync(hub, metrics, filter, lastEventId, time, lifetime.ApplicationStopping, context.RequestAborted));
        })
        .WithTags("Stream").WithSummary("Every update, as Server-Sent Events")
        .Produces(StatusCodes.Status200OK, contentType: "text/event-stream").ProducesValidationProblem();

    private static async IAsyncEnumerable<SseItem<string>> EventsAsync(
        UpdateHub hub, CacheMetrics metrics, StreamFilter filter, string? lastEventId, TimeProvider time,
        CancellationToken stopping, [EnumeratorCancellation] CancellationToken aborted)
    {
        // An open stream must not hold up the shutdown.
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(stopping, aborted);
        var client = hub.Open(lastEventId);
        metrics.StreamOpened();
        try
        {
            // Sends the headers, so that the client knows that it is connected.
            yield return Heartbeat();
            while (!ends.IsCancellationRequested)
            {
                if (client.TryTakeResync(out var reason, out var number))
                {
                    yield return new($$"""{"reason":"{{reason}}"}""", "resync") { EventId = hub.IdOf(number) };
                }

                while (client.TryTake(out var update))
                {
                    if (filter.Apply(update) is { } json)
                    {
                        yield return new(json) { EventId = hub.IdOf(update.Number) };
                    }
                }

                bool any;
                try
                {
                    any = await client.WaitAsync(HeartbeatInterval, time, ends.Token);
                }
                catch (OperationCanceledException)
                {
                    yield break;
                }

                if (!any)
                {
                    yield return Heartbeat();
                }
            }
        }
        finally
        {
            hub.Close(client);
            metrics.StreamClosed();
        }
    }

    private static SseItem<string> Heartbeat() => new("{}", "heartbeat");

    private static List<string> List(string? text) =>
        [.. (text ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)];
}

/// <summary>Which updates a stream wants; an empty list means all.</summary>
internal sealed class StreamFilter(IReadOnlyList<string> types, IReadOnlyList<string> dimensions)
{
    /// <summary>The update's message with the fields that are wanted; null when none is.</summary>
    public string? Apply(Update update)
    {
        if (types.Count > 0 && !types.Contains(update.Type))
        {
            return null;
        }

        if (dimensions.Count == 0)
        {
            return update.Json;
        }

        // A session has one dimension, its device, and goes as a whole.
        if (update.Type == "session")
        {
            return update.Device is { } device && dimensions.Contains(device) ? update.Json : null;
        }

        var unwanted = update.Fields.Where(field => !dimensions.Contains(DimensionOf(field))).ToList();
        if (unwanted.Count == update.Fields.Count)
        {
            return null;
        }

        var message = JsonNode.Parse(update.Json)!;
        var fields = message["fields"]!.AsObject();
        unwanted.ForEach(field => fields.Remove(field));
        return message.ToJsonString();
    }

    /// <summary>What stands before the measure; a dimension may have dots of its own.</summary>
    private static string DimensionOf(string field) => field.LastIndexOf('.') is var dot and > 0 ? field[..dot] : field;
}
