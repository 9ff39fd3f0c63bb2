using System.Text.Json.Serialization;

namespace Cache.Client;

/// <summary>A session: a visit. Of its properties, only the id is always there; an update has those that were written.</summary>
public sealed record Session
{
    /// <summary>Its id.</summary>
    [JsonPropertyName("session_id")]
    public string Id { get; init; } = "";

    /// <summary>Whose session it is.</summary>
    public string? UserId { get; init; }

    /// <summary>When it started.</summary>
    public DateTimeOffset? StartTime { get; init; }

    /// <summary>When it was last seen.</summary>
    public DateTimeOffset? EndTime { get; init; }

    /// <summary>How long it has lasted.</summary>
    public TimeSpan? Duration { get; init; }

    /// <summary>The number of pages.</summary>
    public long? PageCount { get; init; }

    /// <summary>The device: the dimension that a stream selects sessions by.</summary>
    public string? DeviceCategory { get; init; }
}
