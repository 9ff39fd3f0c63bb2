using System.Globalization;
using Cache.Service.Persist;

namespace Cache.Service.Http;

/// <summary>Shared by the data routes: parsing <c>limit</c>, sending answers and reporting errors.</summary>
internal static class ApiAnswers
{
    /// <summary>The default of <c>limit</c>.</summary>
    public const int DefaultLimit = 20;

    // Leaves time to report the failure within the one second promised to callers.
    private static readonly TimeSpan RedisTimeout = TimeSpan.FromSeconds(0.75);

    /// <summary>Maps a route that answers from Redis, or from Kafka.</summary>
    public static RouteHandlerBuilder MapRead(this IEndpointRouteBuilder routes, string pattern, Delegate read) =>
        routes.MapGet(pattern, read).WithMetadata(DescribedAnswer.NotModified, DescribedAnswer.Problem(StatusCodes.Status503ServiceUnavailable, "Redis does not answer, or not in time; a key in Redis holds another type; or answers in progress hold the maximum of memory (in which case `Retry-After` is set)."));

    /// <summary>Sends an answer once it has been read; answers 503 if Redis does not deliver it, or a key holds another type.</summary>
    public static Task SendAsync(HttpContext context, Task<Answer> answer, LargeReads large) =>
        answer is { IsCompletedSuccessfully: true, Result: HeldAnswer { Length: < LargeReads.MinBytes } small } ? small.SendAsync(context, large) : SendOnceReadAsync(context, answer, large);

    /// <summary>Whether a failure is reported to the caller with its reason, as opposed to a defect of the service.</summary>
    public static bool IsReported(Exception exception) => RedisErrors.IsUnavailable(exception) || exception is SlowReadException or NoRoomException;

    /// <summary>Starts the time limit after which a caller gets "Redis does not answer".</summary>
    public static CancellationTokenSource Deadline(CancellationToken cancellationToken = default)
    {
        var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(RedisTimeout);
        return deadline;
    }

    /// <summary>Parses <c>limit</c>, 20 by default; adds an error if it is invalid.</summary>
    public static int Limit(string? text, Dictionary<string, string[]> errors) => text is null ? DefaultLimit : Whole("limit", text, errors);

    /// <summary>Parses a whole number of 1 or more; adds an error if it is invalid.</summary>
    public static int Whole(string name, string text, Dictionary<string, string[]> errors)
    {
        // Any number of digits: a limit beyond what exists means all.
        if (text.Length > 0 && text.All(char.IsAsciiDigit) && text.TrimStart('0') is { Length: > 0 } digits)
        {
            return int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : int.MaxValue;
        }

        errors[name] = [$"{name} must be a whole number of 1 or more"];
        return DefaultLimit;
    }

    /// <summary>Answers 400, naming the invalid parameters.</summary>
    public static Task WriteErrorsAsync(HttpContext context, Dictionary<string, string[]> errors) =>
        Results.ValidationProblem(errors, detail: string.Join(" ", errors.Select(error => $"{error.Value[0]}."))).ExecuteAsync(context);

    private static async Task SendOnceReadAsync(HttpContext context, Task<Answer> answer, LargeReads large)
    {
        try
        {
            await (await answer).SendAsync(context, large);
        }
        catch (Exception exception) when (IsReported(exception) && !context.Response.HasStarted)
        {
            var (title, detail) = exception switch
            {
                NoRoomException => ("Too many large answers at once", $"{exception.Message} Retry shortly, or ask for less (limit, from, to)."),
                SlowReadException => ("The answer took too long", $"{exception.Message} Ask for fewer windows (limit, from, to), or retry shortly."),
                _ when RedisErrors.IsWrongType(exception) => (
                    "A key in Redis holds another type", "A key needed for this answer exists in Redis, but with another type. Delete or rename it."),
                _ => ("Redis does not answer", "This data is in Redis, which does not answer right now. Retry shortly."),
            };
            if (exception is NoRoomException)
            {
                context.Response.Headers.RetryAfter = "1";

                // It belongs to the answer that is not sent.
                context.Response.Headers.ETag = default;
            }

            await Results.Problem(statusCode: StatusCodes.Status503ServiceUnavailable, title: title, detail: detail).ExecuteAsync(context);
        }
    }
}
