using Cache.Service.Http.Query;

namespace Cache.Service.Http;

/// <summary>One possible answer of a route, as described in <c>/openapi/v1.json</c>.</summary>
/// <param name="Status">The HTTP status.</param>
/// <param name="Description">When the route gives this answer.</param>
/// <param name="ContentType">Its media type; null without a body.</param>
/// <param name="Schema">The name of its schema in <see cref="ApiSchemas"/>; null for text.</param>
/// <param name="Example">An example of its body.</param>
internal sealed record DescribedAnswer(int Status, string Description, string? ContentType = null, string? Schema = null, string? Example = null)
{
    private const string ProblemJson = "application/problem+json";

    /// <summary>304, for clients that already have the answer.</summary>
    public static DescribedAnswer NotModified { get; } =
        new(StatusCodes.Status304NotModified, "The answer still has the `ETag` sent in `If-None-Match`.");

    /// <summary>400, for a parameter that the route does not have.</summary>
    public static DescribedAnswer UnknownParameter { get; } = BadParameter("feilds", "feilds is not a parameter of this route; did you mean fields?");

    /// <summary>401, if keys or tokens are configured.</summary>
    public static DescribedAnswer Unauthorized { get; } =
        Problem(StatusCodes.Status401Unauthorized, "No valid key or token was sent.");

    /// <summary>429, if rates are limited.</summary>
    public static DescribedAnswer TooMany { get; } = Problem(
        StatusCodes.Status429TooManyRequests, "Too many requests or streams from this client. `Retry-After` is the number of seconds to wait.");

    public static DescribedAnswer Json(string schema, string example, int status = StatusCodes.Status200OK, string description = "OK") =>
        new(status, description, "application/json", schema, example);

    public static DescribedAnswer Csv(string example) => new(StatusCodes.Status200OK, "OK", "text/csv", null, example);

    public static DescribedAnswer Text(string contentType, string example, int status = StatusCodes.Status200OK, string description = "OK") =>
        new(status, description, contentType, null, example);

    public static DescribedAnswer Problem(int status, string description) => new(status, description, ProblemJson, "Problem",
        $$"""{"type":"https://tools.ietf.org/html/rfc9110#section-15","title":"{{Microsoft.AspNetCore.WebUtilities.ReasonPhrases.GetReasonPhrase(status)}}","status":{{status}}}""");

    public static DescribedAnswer BadParameter(string parameter, string error) => new(StatusCodes.Status400BadRequest, "A parameter is invalid, or not one of this route.", ProblemJson, "Problem",
        $$$"""{"type":"https://tools.ietf.org/html/rfc9110#section-15.5.1","title":"One or more validation errors occurred.","status":400,"detail":"{{{error}}}.","errors":{"{{{parameter}}}":["{{{error}}}"]}}""");
}
