using System.Text.Json.Nodes;
using Cache.Service.Http.Query;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace Cache.Service.Http;

/// <summary>One answer that a route may give, as <c>/openapi/v1.json</c> tells it.</summary>
/// <param name="Status">The HTTP status.</param>
/// <param name="Description">When it is given.</param>
/// <param name="ContentType">Its media type; null when it has no body.</param>
/// <param name="Schema">The name of its schema in <see cref="ApiDescription"/>; null for text.</param>
/// <param name="Example">An example of its body.</param>
internal sealed record DescribedAnswer(int Status, string Description, string? ContentType = null, string? Schema = null, string? Example = null)
{
    private const string ProblemJson = "application/problem+json";

    /// <summary>304, for who has it already.</summary>
    public static DescribedAnswer NotModified { get; } =
        new(StatusCodes.Status304NotModified, "The answer is still the one whose `ETag` was sent as `If-None-Match`.");

    /// <summary>401, where keys or tokens are configured.</summary>
    public static DescribedAnswer Unauthorized { get; } =
        Problem(StatusCodes.Status401Unauthorized, "No key or token that is known. Only where `api_keys` or tokens are configured.");

    /// <summary>429, where rates are limited.</summary>
    public static DescribedAnswer TooMany { get; } = Problem(
        StatusCodes.Status429TooManyRequests, "Too many requests, or streams, of this client; `Retry-After` tells the seconds to wait.");

    public static DescribedAnswer Json(string schema, string example, int status = StatusCodes.Status200OK, string description = "OK") =>
        new(status, description, "application/json", schema, example);

    public static DescribedAnswer Csv(string example) => new(StatusCodes.Status200OK, "OK", "text/csv", null, example);

    public static DescribedAnswer Text(string contentType, string example, int status = StatusCodes.Status200OK, string description = "OK") =>
        new(status, description, contentType, null, example);

    public static DescribedAnswer Problem(int status, string description) => new(status, description, ProblemJson, "Problem",
        $$"""{"type":"https://tools.ietf.org/html/rfc9110#section-15","title":"{{Microsoft.AspNetCore.WebUtilities.ReasonPhrases.GetReasonPhrase(status)}}","status":{{status}}}""");

    public static DescribedAnswer BadParameter(string parameter, string error) => new(StatusCodes.Status400BadRequest, "A parameter cannot be used.", ProblemJson, "Problem",
        $$$"""{"type":"https://tools.ietf.org/html/rfc9110#section-15.5.1","title":"One or more validation errors occurred.","status":400,"detail":"{{{error}}}.","errors":{"{{{parameter}}}":["{{{error}}}"]}}""");
}
