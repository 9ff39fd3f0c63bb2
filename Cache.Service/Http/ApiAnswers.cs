using System.Globalization;
using Cache.Service.Persist;

namespace Cache.Service.Http;

/// <summary>What the data routes have in common: how they read <c>limit</c>, answer, and say that they cannot.</summary>
internal static class ApiAnswers
{
    private const int DefaultLimit = 20;

    // Leaves time to say so within the second that a caller is promised.
    private static readonly TimeSpan RedisTimeout = TimeSpan.FromSeconds(0.75);

    /// <summary>A route for GET, and for HEAD, which asks whether there is anything new.</summary>
    public static RouteHandlerBuilder MapRead(this IEndpointRouteBuilder routes, string pattern, Delegate read)
    {
        routes.MapMethods(pattern, [HttpMethods.Head], read).ExcludeFromDescription();
        return routes.MapGet(pattern, read)
            .WithMetadata(DescribedAnswer.NotModified, DescribedAnswer.Problem(StatusCodes.Status503ServiceUnavailable, "Redis does not answer, or not in time; something else is in the place of what is asked for; or answers on their way hold as much as they may (then with `Retry-After`)."));
    }

    /// <summary>Sends an answer once it is there; says so, with 503, when Redis does not give it or has something else there.</summary>
    public static Task SendAsync(HttpContext context, Task<Answer> answer) =>
        answer is { IsCompletedSuccessfully: true, Result: HeldAnswer { Length: < LargeReads.MinBytes } small } ? small.SendAsync(context) : SendOnceReadAsync(context, answer);

    /// <summary>Whether a failure is one that a caller is told of, and not a fault of our own.</summary>
    public static bool IsReported(Exception exception) => RedisErrors.IsUnavailable(exception) || exception is SlowReadException or NoRoomException;

    /// <summary>When a caller is told that Redis does not answer.</summary>
    public static CancellationTokenSource Deadline(CancellationToken cancellationToken = default)
    {
        var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(RedisTimeout);
        return deadline;
    }

    /// <summary>Reads <c>limit</c>: how many at most, 20 by default; notes an error when it cannot be read.</summary>
    public static int Limit(string? text, Dictionary<string, string[]> errors)
    {
        if (text is null)
        {
            return DefaultLimit;
        }

        // Any number of digits: a limit beyond what there is means all.
        if (text.Length > 0 && text.All(char.IsAsciiDigit) && text.TrimStart('0') is { Length: > 0 } digits)
        {
            return int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var limit) ? limit : int.MaxValue;
        }

        errors["limit"] = ["limit must be a whole number of 1 or more"];
        return DefaultLimit;
    }

    /// <summary>Answers bad input with 400, naming the parameters.</summary>
    public static Task WriteErrorsAsync(HttpContext context, Dictionary<string, string[]> errors) =>
        Results.ValidationProblem(errors, detail: string.Join(" ", errors.Select(error => $"{error.Value[0]}."))).ExecuteAsync(context);

    private static async Task SendOnceReadAsync(HttpContext context, Task<Answer> answer)
    {
        try
        {
            await (await answer).SendAsync(context);
        }
        catch (Exception exception) when (IsReported(exception) && !context.Response.HasStarted)
        {
            var (title, detail) = exception switch
            {
                NoRoomException => ("Too many large answers at once", $"{exception.Message} Try again soon, or ask for fewer windows: limit, from, to."),
                SlowReadException => ("The answer took too long", $"{exception.Message} Ask for fewer windows (limit, from, to), or try again soon."),
                _ when RedisErrors.IsWrongType(exception) => (
                    "A key in Redis holds another type", "What is asked for is kept in Redis, and something else is in its place. Delete or rename that key."),
                _ => ("Redis does not answer", "What is asked for is kept in Redis, and it does not answer right now. Try again soon."),
            };
            if (exception is NoRoomException)
            {
                context.Response.Headers.RetryAfter = "1";

                // It was found, but is not what is sent.
                context.Response.Headers.ETag = default;
            }

            await Results.Problem(statusCode: StatusCodes.Status503ServiceUnavailable, title: title, detail: detail).ExecuteAsync(context);
        }
    }
}
