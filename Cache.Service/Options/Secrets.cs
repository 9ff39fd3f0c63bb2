namespace Cache.Service.Options;

/// <summary>Keeps secrets in the configuration out of error messages written by libraries.</summary>
internal static class Secrets
{
    // A key whose name contains one of these may hold a secret.
    private static readonly string[] SensitiveNames =
        ["ConnectionStrings", "password", "passphrase", "secret", "token", "key", "pem", "username", "jaas", "oauth", "cors_origins", "bootstrap", "redis_host", "SigningKeys", "Authority", "headers", "schema_registry"];

    // Shorter values occur in ordinary text.
    private const int MinLength = 3;

    /// <summary>Whether the value of a key may contain a secret.</summary>
    public static bool IsSensitive(string key) => Array.Exists(SensitiveNames, name => key.Contains(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>Masks the values of keys that may hold a secret.</summary>
    public static string Hide(string text, IConfiguration configuration)
    {
        foreach (var (key, value) in configuration.AsEnumerable())
        {
            if (value is { Length: >= MinLength } && IsSensitive(key))
            {
                text = text.Replace(value, "…", StringComparison.OrdinalIgnoreCase);
            }
        }

        return text;
    }
}
