namespace Cache.Service.Options;

/// <summary>
/// Reads and checks the keys of the schema registry. No error repeats a value: people put user and password in front of the host, and
/// the client library prints the address.
/// </summary>
internal static class SchemaRegistrySettings
{
    private const string UrlKey = "schema_registry_url";
    private const string UserKey = "schema_registry_user";
    private const string PasswordKey = "schema_registry_password";

    /// <summary>Reads the keys, and adds one sentence per error.</summary>
    public static (string Url, string User, string Password) Read(FlatKeys keys)
    {
        var urls = keys.List(UrlKey, secret: true) ?? [];
        var (user, password) = (keys.Text(UserKey, ""), keys.Text(PasswordKey, ""));
        foreach (var (number, url) in urls.Index())
        {
            if (!IsAddress(url))
            {
                keys.Errors.Add($"{UrlKey}: address {number + 1} of {urls.Count} cannot be used; it must be http://host:port or https://host:port, where needed with a path; "
                    + $"a user goes to {UserKey}, the password to {PasswordKey}.");
            }
        }

        if (user.Length > 0 != password.Length > 0)
        {
            var (set, missing) = user.Length > 0 ? (UserKey, PasswordKey) : (PasswordKey, UserKey);
            keys.Errors.Add($"{set} is set, but {missing} is not; the schema registry needs both, or neither.");
        }
        else if (user.Length > 0 && urls.Count == 0)
        {
            keys.Errors.Add($"{UserKey} is set, but {UrlKey} is not; without it no schema is asked for.");
        }

        // HTTP takes the user to end at the first colon.
        if (user.Contains(':', StringComparison.Ordinal))
        {
            keys.Errors.Add($"{UserKey} cannot be used; a user has no colon, and the password goes to {PasswordKey}.");
        }

        return (string.Join(',', urls), user, password);
    }

    private static bool IsAddress(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
            && uri is { Host.Length: > 0, UserInfo.Length: 0, Query.Length: 0, Fragment.Length: 0 } && !text.Contains('@', StringComparison.Ordinal);
}
