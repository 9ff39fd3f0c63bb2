using System.Data.Common;

namespace Cache.Client;

/// <summary>
/// Settings of a <see cref="CacheClient"/>; section <c>Aspire:Cache:Client</c>, or <c>Aspire:Cache:Client:{name}</c> for the client of one
/// name, which wins.
/// </summary>
public sealed class CacheClientSettings
{
    /// <summary>
    /// The address of the service, also one for service discovery. By default that of the connection string; without one, <c>https+http://{name}</c>.
    /// </summary>
    public Uri? Endpoint { get; set; }

    /// <summary>The key that the service asks for, if <c>api_keys</c> is set there; none by default. Sent as <c>X-Api-Key</c>.</summary>
    public string? ApiKey { get; set; }

    /// <summary>Whether to leave out the health check.</summary>
    public bool DisableHealthChecks { get; set; }

    /// <summary>Whether to leave out the client's spans.</summary>
    public bool DisableTracing { get; set; }

    /// <summary>How long a stream may be silent before it is opened again; 45 s by default, which is three of the service's heartbeats.</summary>
    public TimeSpan StreamTimeout { get; set; } = TimeSpan.FromSeconds(45);

    /// <summary>The wait before a lost stream is opened again; 1 s by default. It doubles with each failure, and half of it is random.</summary>
    public TimeSpan MinReconnectDelay { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>The longest wait before a lost stream is opened again, unless the service asks for a longer one; 30 s by default.</summary>
    public TimeSpan MaxReconnectDelay { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Takes a connection string: an address, or <c>Endpoint=…;ApiKey=…</c>.</summary>
    /// <exception cref="FormatException">It cannot be read. The message does not repeat it, as it may contain a key.</exception>
    internal void Take(string connectionString)
    {
        const string Expected = "it must be an address such as https+http://cache, or Endpoint=https+http://cache;ApiKey=…";
        if (TryAddress(connectionString, out var address))
        {
            Endpoint = address;
            return;
        }

        var parts = new DbConnectionStringBuilder();
        try
        {
            parts.ConnectionString = connectionString;
        }
        catch (ArgumentException)
        {
            throw new FormatException($"cannot be read; {Expected}.");
        }

        if (parts.Keys.Cast<string>().Any(name => name is not ("endpoint" or "apikey")))
        {
            throw new FormatException($"has a part that is neither Endpoint nor ApiKey; {Expected}.");
        }

        if (parts.TryGetValue("Endpoint", out var endpoint))
        {
            Endpoint = TryAddress((string)endpoint, out address) ? address : throw new FormatException($"has an Endpoint that is no address; {Expected}.");
        }

        if (parts.TryGetValue("ApiKey", out var key))
        {
            ApiKey = (string)key;
        }
    }

    /// <summary>Checks the settings.</summary>
    /// <exception cref="FormatException">One of them is out of range.</exception>
    internal void Check()
    {
        foreach (var (name, value) in new[] { (nameof(StreamTimeout), StreamTimeout), (nameof(MinReconnectDelay), MinReconnectDelay), (nameof(MaxReconnectDelay), MaxReconnectDelay) })
        {
            if (value <= TimeSpan.Zero || value > TimeSpan.FromDays(1))
            {
                throw new FormatException($"{name} is {value}; it must be more than 0 and at most a day.");
            }
        }

        if (MinReconnectDelay > MaxReconnectDelay)
        {
            throw new FormatException($"{nameof(MinReconnectDelay)} is {MinReconnectDelay}, which is more than {nameof(MaxReconnectDelay)}.");
        }
    }

    private static bool TryAddress(string text, out Uri? address) => Uri.TryCreate(text, UriKind.Absolute, out address) && address.Host.Length > 0;
}
