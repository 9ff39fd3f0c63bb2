using System.Text.Json.Nodes;
using Microsoft.OpenApi;

namespace Cache.Service.Http;

/// <summary>
/// What a query parameter takes, as described in <c>/openapi/v1.json</c>. Handlers bind parameters as text, so that every error
/// gets the same kind of answer; a parameter without this is described as text.
/// </summary>
/// <param name="Name">The parameter.</param>
/// <param name="Schema">Its type, range and default.</param>
internal sealed record DescribedParameter(string Name, OpenApiSchema Schema)
{
    /// <summary>A whole number of 1 or more.</summary>
    /// <param name="name">The parameter.</param>
    /// <param name="byDefault">Its value if it is missing; null if that means something else than a number.</param>
    /// <param name="most">The largest value that is accepted; null for any.</param>
    public static DescribedParameter Whole(string name, int? byDefault = null, int? most = null) => new(name, new()
    {
        Type = JsonSchemaType.Integer,
        Minimum = "1",
        Maximum = most?.ToString(System.Globalization.CultureInfo.InvariantCulture),
        Default = byDefault is { } number ? JsonValue.Create(number) : null,
    });

    /// <summary>A time, as a number or as text.</summary>
    public static DescribedParameter Time(string name) => new(name, new()
    {
        AnyOf =
        [
            new OpenApiSchema { Type = JsonSchemaType.Integer, Format = "int64", Description = "Milliseconds since 1970 UTC." },
            new OpenApiSchema { Type = JsonSchemaType.String, Format = "date-time", Description = "ISO 8601; UTC without an offset." },
        ],
        Examples = [ExampleTime.Start, DateTimeOffset.FromUnixTimeMilliseconds(ExampleTime.Start).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture)],
    });

    /// <summary>A duration, such as <c>15m</c>.</summary>
    public static DescribedParameter Duration(string name) => new(name, new()
    {
        Type = JsonSchemaType.String,
        Pattern = "^[0-9]{1,6}[smhdSMHD]$",
        Examples = ["15m"],
    });

    /// <summary>One of some words.</summary>
    public static DescribedParameter OneOf(string name, IEnumerable<string> words) => new(name, Words(words));

    /// <summary>Some of some words, separated by commas.</summary>
    public static DescribedParameter SomeOf(string name, IEnumerable<string> words) =>
        new(name, new() { Type = JsonSchemaType.Array, Items = Words(words) });

    /// <summary>True or false; false by default.</summary>
    public static DescribedParameter Flag(string name) => new(name, new() { Type = JsonSchemaType.Boolean, Default = JsonValue.Create(false) });

    private static OpenApiSchema Words(IEnumerable<string> words) =>
        new() { Type = JsonSchemaType.String, Enum = [.. words.Select(word => (JsonNode)JsonValue.Create(word))] };
}
