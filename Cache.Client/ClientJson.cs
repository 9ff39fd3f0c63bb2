using System.Text.Json;
using System.Text.Json.Serialization;

namespace Cache.Client;

/// <summary>The service's answers.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, Converters = [typeof(TimeConverter), typeof(DurationConverter)])]
[JsonSerializable(typeof(TypesAnswer))]
[JsonSerializable(typeof(SessionsAnswer))]
[JsonSerializable(typeof(MetricSummary))]
[JsonSerializable(typeof(Problem))]
internal sealed partial class ClientJson : JsonSerializerContext;

/// <summary>The answer of <c>GET /types</c>.</summary>
internal sealed record TypesAnswer(IReadOnlyList<MetricType> Types);

/// <summary>The answer of <c>GET /sessions/active</c>.</summary>
internal sealed record SessionsAnswer(IReadOnlyList<Session> Sessions);

/// <summary>The body of an error, <c>application/problem+json</c>.</summary>
internal sealed record Problem(string? Title, string? Detail);

/// <summary>A time in JSON: milliseconds since 1970.</summary>
internal sealed class TimeConverter : JsonConverter<DateTimeOffset>
{
    /// <inheritdoc/>
    public override DateTimeOffset Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        DateTimeOffset.FromUnixTimeMilliseconds(reader.GetInt64());

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, DateTimeOffset value, JsonSerializerOptions options) =>
        writer.WriteNumberValue(value.ToUnixTimeMilliseconds());
}

/// <summary>A duration in JSON: milliseconds.</summary>
internal sealed class DurationConverter : JsonConverter<TimeSpan>
{
    /// <inheritdoc/>
    public override TimeSpan Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        TimeSpan.FromMilliseconds(reader.GetInt64());

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, TimeSpan value, JsonSerializerOptions options) =>
        writer.WriteNumberValue((long)value.TotalMilliseconds);
}
