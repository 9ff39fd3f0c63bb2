using System.Globalization;
using Cache.Service.Persist;

namespace Cache.Service.Query;

/// <summary>What the data routes have in common: how they read <c>limit</c>, answer, and say that they cannot.</summary>
internal static class ApiAnswers
{
    private const int DefaultLimit = 20;

    // Leaves time to say so within the second that a caller is promised.
    private static readonly TimeSpan RedisPatience = TimeSpan.FromSeconds(0.75);

    /// <summary>A route for GET, and for HEAD, which asks whether there is anything new.</summary>
    public static RouteHandlerBuilder MapRead(this IEndpointRouteBuilder routes, string pattern, Delegate read)
    {
        routes.MapMethods(pattern, [HttpMethods.Head], read).ExcludeFromDescription();
        return routes.MapGet(pattern, read)
            .WithMetadata(DescribedAnswer.NotModified, DescribedAnswer.Problem(StatusCodes.Status503ServiceUnavailable, "Redis does not answer, or something else is in the place of what is asked for."));
    }

    /// <summary>Sends an answer once it is there; says so, with 503, when Redis does not give it or has something else there.</summary>
    public static Task SendAsync(HttpContext context, Task<Answer> answer) =>
        answer.IsCompletedSuccessfully ? answer.Result.SendAsync(context) : SendOnceReadAsync(context, answer);

    /// <summary>When a caller is told that Redis does not answer.</summary>
    public static CancellationTokenSource Deadline() => new(RedisPatience);

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
            await answer;
        }
        catch (Exception exception) when (RedisErrors.IsAway(exception))
        {
            var (title, detail) = RedisErrors.IsWrongType(exception)
                ? ("A key in Redis holds another type", "What is asked for is kept in Redis, and something else is in its place. Delete or rename that key.")
                : ("Redis does not answer", "What is asked for is kept in Redis, and it does not answer right now. Try again soon.");
            await Results.Problem(statusCode: StatusCodes.Status503ServiceUnavailable, title: title, detail: detail).ExecuteAsync(context);
            return;
        }

        await answer.Result.SendAsync(context);
    }
}
