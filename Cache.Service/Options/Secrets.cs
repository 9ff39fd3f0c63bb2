namespace Cache.Service.Options;

/// <summary>Keeps secrets of the configuration out of what others say about it.</summary>
internal static class Secrets
{
    // In the name of a key, each says that its value may be one, or have one in it.
    private static readonly string[] Marks =
        ["ConnectionStrings", "password", "passphrase", "secret", "token", "key", "pem", "username", "jaas", "oauth", "cors_origins", "bootstrap", "redis_host", "SigningKeys", "Authority", "headers"];

    // What is shorter stands in every other sentence.
    private const int Least = 3;

    /// <summary>A text without the values of keys that can hold a secret.</summary>
    public static string Hide(string text, IConfiguration configuration)
    {
        foreach (var (key, value) in configuration.AsEnumerable())
        {
            if (value is { Length: >= Least } && Array.Exists(Marks, mark => key.Contains(mark, StringComparison.OrdinalIgnoreCase)))
            {
                text = text.Replace(value, "…", StringComparison.OrdinalIgnoreCase);
            }
        }

        return text;
    }
}
