namespace Aspire.StackExchange.Redis;

/// <summary>Settings of the Redis client; section <c>Aspire:StackExchange:Redis[:name]</c>.</summary>
public sealed class StackExchangeRedisSettings
{
    /// <summary>A StackExchange.Redis connection string: addresses, then options, comma separated. Required.</summary>
    public string? ConnectionString { get; set; }

    /// <summary>Whether the health check stays off; false by default.</summary>
    public bool DisableHealthChecks { get; set; }

    /// <summary>Whether commands make no spans; false by default.</summary>
    public bool DisableTracing { get; set; }

    /// <summary>
    /// Whether the connection is made on first use (true, the default) and not in the background when the host starts.
    /// </summary>
    public bool DisableAutoActivation { get; set; } = true;
}
