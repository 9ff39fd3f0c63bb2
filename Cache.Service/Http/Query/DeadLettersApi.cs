using System.Buffers;
using System.ComponentModel;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Persist;
using Microsoft.Net.Http.Headers;
using static Cache.Service.Http.ApiAnswers;

namespace Cache.Service.Http.Query;

/// <summary><c>GET /dead-letters</c>: the newest rejected rows, as they are in the dead-letter topic.</summary>
internal static class DeadLettersApi
{
    private const int DefaultLimit = 50;
    private const int MaxLimit = 1000;
    private const string Ndjson = "application/x-ndjson";
    private const string LimitError = "limit must be a whole number from 1 to 1000";

    private static readonly string[] Formats = ["json", "ndjson"];
    private static readonly string[] Reasons = [.. Enum.GetValues<RejectReason>().Where(reason => reason != RejectReason.None).Select(reason => reason.Name())];

    public static void MapDeadLetters(this IEndpointRouteBuilder routes) =>
        // Parameters are bound as text, so that every error gets the same kind of answer.
        routes.MapRead("/dead-letters", (
            [Description("Maximum number of letters.")] string? limit,
            [Description("Only rows rejected for this reason.")] string? reason,
            [Description("Only rows of this topic.")] string? topic,
            [Description("Takes precedence over `Accept`.")] string? format,
            HttpContext context,
            DeadLetterReader reader,
            CacheOptions options,
            LargeReads large) =>
        {
            var errors = new Dictionary<string, string[]>();
            var query = new LetterQuery(Limit(limit, errors), reason, topic);
            if (reason is not null && !Reasons.Contains(reason))
            {
                errors["reason"] = [$"reason must be one of {string.Join(", ", Reasons)}"];
            }

            if (format is not null && !Formats.Contains(format))
            {
                errors["format"] = [$"format must be {string.Join(" or ", Formats)}"];
            }

            if (errors.Count > 0)
            {
                return WriteErrorsAsync(context, errors);
            }

            context.Response.Headers.Vary = HeaderNames.Accept;
            var isNdjson = format is null ? context.Request.Prefers("application", "x-ndjson") : format == "ndjson";
            return options.DeadLetterTopic is ""
                ? ProblemAsync(
                    context, StatusCodes.Status404NotFound, "Dead letters are not kept",
                    "cache_dead_letter_topic is empty: rejected rows are only logged and counted (cache_dead_letters_total).")
                : SendAsync(context, reader, query, options.DeadLetterTopic, isNdjson, large);
        })
        .WithName("get_dead_letters").WithTags("Dead letters").WithSummary("The newest rejected rows, newest first")
        .WithDescription("Read from the dead-letter topic at this moment, at most 10,000 letters back, and 8 MB; `complete` is false if "
            + "there may be others further back. Values are shortened to 4 KB. With `Accept: application/x-ndjson`: one line per letter, oldest first, with all bytes "
            + "of its key and value, which the simulator's `--file` sends again. A value larger than 2 MB is left out, and a last line `{\"scanned\":…,\"complete\":false}` tells of others further back.")
        .WithMetadata(
            DescribedParameter.Whole("limit", DefaultLimit, MaxLimit), DescribedParameter.OneOf("reason", Reasons), DescribedParameter.OneOf("format", Formats),
            DescribedAnswer.Json(
                "DeadLetters",
                $$$"""
                {"topic":"cache_dead_letters","letters":[{"reason":"bad_measure","topic":"event_metrics","partition":3,"offset":17,"timestamp":{{{ExampleTime.Start + 120}}},"rejected":{{{ExampleTime.Start + 180}}},
                 "dead_letter":{"partition":0,"offset":12},"key":"click","value":"{\"window_start\":{{{ExampleTime.Start}}},\"event_type\":\"click\",\"event_count\":-1}","bytes":68,"truncated":false}],
                 "scanned":1,"complete":true}
                """),
            DescribedAnswer.Text(
                Ndjson,
                $$$"""{"topic":"event_metrics","partition":3,"offset":17,"timestamp":{{{ExampleTime.Start + 120}}},"reason":"bad_measure","key":"click","value":"{\"window_start\":{{{ExampleTime.Start}}},\"event_type\":\"click\",\"event_count\":-1}"}""" + "\n"),
            DescribedAnswer.BadParameter("limit", LimitError),
            DescribedAnswer.Problem(StatusCodes.Status404NotFound, "`cache_dead_letter_topic` is empty: rejected rows are only logged and counted."),
            DescribedAnswer.Problem(StatusCodes.Status503ServiceUnavailable, "Kafka does not answer in time, or does not let the service read the dead-letter topic; or answers in progress hold the maximum of memory (in which case `Retry-After` is set)."));

    private static int Limit(string? text, Dictionary<string, string[]> errors)
    {
        var limit = text is null ? DefaultLimit : Whole("limit", text, errors);
        if (limit > MaxLimit || errors.Count > 0)
        {
            errors["limit"] = [LimitError];
        }

        return limit;
    }

    private static async Task SendAsync(HttpContext context, DeadLetterReader reader, LetterQuery query, string topic, bool isNdjson, LargeReads large)
    {
        LettersFound found;
        try
        {
            found = await reader.FindAsync(query);
        }
        catch (NoDeadLettersException failure)
        {
            await (failure.IsRefused
                ? ProblemAsync(
                    context, StatusCodes.Status503ServiceUnavailable, "Kafka refuses the dead letters",
                    $"Kafka does not let this service read {topic} ({failure.Message}). Grant it the operation READ on this topic.")
                : ProblemAsync(
                    context, StatusCodes.Status503ServiceUnavailable, "Kafka does not answer",
                    $"The dead letters are in Kafka, which did not deliver them ({failure.Message}). Retry shortly."));
            return;
        }

        var answer = isNdjson
            ? new StreamedAnswer($"{Ndjson}; charset=utf-8", asking => Lines(asking, found, large))
            : Answer.Of(Answer.JsonType, body => LetterJson.Write(body, topic, found));
        await ApiAnswers.SendAsync(context, Task.FromResult(answer), large);
    }

    /// <summary>The lines, oldest first, some at a time.</summary>
    private static async IAsyncEnumerable<ReadOnlyMemory<byte>> Lines(HttpContext context, LettersFound found, LargeReads large)
    {
        // A slow client keeps the letters in memory until it has read them.
        using var room = large.Take(found.Letters.Sum(letter => (long)letter.Size), context);
        context.Response.Headers.ContentDisposition = "attachment; filename=\"cache_dead_letters.ndjson\"";
        var body = new ArrayBufferWriter<byte>(LargeReads.MinBytes);
        foreach (var letter in found.Letters.Reverse())
        {
            LetterJson.WriteLine(body, letter);
            if (body.WrittenCount >= LargeReads.MinBytes)
            {
                yield return body.WrittenMemory;
                body.ResetWrittenCount();
            }
        }

        if (!found.IsComplete)
        {
            LetterJson.WriteRest(body, found.Scanned);
        }

        yield return body.WrittenMemory;
    }

    private static Task ProblemAsync(HttpContext context, int status, string title, string detail) =>
        Results.Problem(statusCode: status, title: title, detail: detail).ExecuteAsync(context);
}
