using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using StackExchange.Redis;

namespace Cache.Service.Options;

/// <summary>
/// The value of <c>ConnectionStrings:redis</c>: <c>host:port[,password=…]</c>, the format of StackExchange.Redis, or a URI, as
/// most hosting providers issue it (<c>redis://user:password@host:port/0</c>, <c>rediss://</c> for TLS). It may contain a
/// password, so no error repeats any part of it.
/// </summary>
internal sealed partial class RedisConnectionString
{
    /// <summary>The configuration key, with which every error starts.</summary>
    public const string Key = "ConnectionStrings:redis";

    private const string Expected = "it must be host:port[,user=…][,password=…][,ssl=true] (the format of StackExchange.Redis), or redis://[user:password@]host[:port][/database], with rediss:// for TLS";

    private RedisConnectionString(string text, int? database) => (Text, Database) = (text, database);

    /// <summary>The connection string in the format of StackExchange.Redis.</summary>
    public string Text { get; }

    /// <summary>The logical database; null if the connection string does not set it.</summary>
    public int? Database { get; }

    /// <summary>Reads a connection string of either form.</summary>
    /// <param name="text">The configured value.</param>
    /// <param name="errors">Receives one sentence per error, with the key and what would be valid.</param>
    public static RedisConnectionString Read(string text, ICollection<string> errors)
    {
        if (text.Contains("://", StringComparison.Ordinal))
        {
            if (Translate(text.Trim()) is not { } translated)
            {
                errors.Add($"{Key} is a URI that cannot be used; {Expected}. Percent-encode special characters in user and password (%40 for @); commas are not supported there.");
                return new("", null);
            }

            text = translated;
        }

        return new(text, Check(text, errors));
    }

    /// <summary>The addresses in a valid connection string in the format of StackExchange.Redis, with commas.</summary>
    public static string ServersOf(string text)
    {
        var options = ConfigurationOptions.Parse(text);
        options.SetDefaultPorts();
        return string.Join(',', options.EndPoints.Select(server => server is DnsEndPoint dns ? $"{dns.Host}:{dns.Port}" : $"{server}"));
    }

    /// <summary>Whether a text can be a host name or address.</summary>
    public static bool IsHost(string text) => Host().IsMatch(text);

    [GeneratedRegex(@"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])\z")]
    private static partial Regex Host();

    /// <summary>Translates a URI into the format of StackExchange.Redis; null if that is not possible.</summary>
    private static string? Translate(string text)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out var uri) || uri.Scheme is not ("redis" or "rediss")
            || !IsHost(uri.Host) || uri.Query.Length > 0 || uri.Fragment.Length > 0)
        {
            return null;
        }

        var parts = new List<string> { $"{uri.Host}:{(uri.Port > 0 ? uri.Port : 6379).ToString(CultureInfo.InvariantCulture)}" };
        if (uri.Scheme == "rediss")
        {
            parts.Add("ssl=true");
        }

        if (uri.UserInfo.Length > 0)
        {
            var (user, password) = uri.UserInfo.Split(':', 2) is [var first, var second]
                ? (Uri.UnescapeDataString(first), Uri.UnescapeDataString(second))
                : ("", "");
            if (password.Length == 0 || !IsValidValue(user) || !IsValidValue(password))
            {
                return null;
            }

            parts.Add($"password={password}");
            if (user.Length > 0)
            {
                parts.Add($"user={user}");
            }
        }

        if (uri.AbsolutePath is not ("" or "/"))
        {
            parts.Add($"defaultDatabase={uri.AbsolutePath[1..]}");
        }

        return string.Join(',', parts);
    }

    // StackExchange.Redis does not support quotes, and trims values.
    private static bool IsValidValue(string text) => !text.Contains(',', StringComparison.Ordinal) && text.Trim() == text;

    /// <summary>Checks the result, because StackExchange.Redis accepts nearly anything as a host; returns the database, if set.</summary>
    private static int? Check(string text, ICollection<string> errors)
    {
        ConfigurationOptions options;
        try
        {
            options = ConfigurationOptions.Parse(text);
        }
        catch (Exception exception) when (exception is ArgumentException or FormatException or OverflowException)
        {
            // The exception's message could repeat a password.
            errors.Add($"{Key} cannot be read; {Expected}.");
            return null;
        }

        if (options.EndPoints.Count == 0 || !options.EndPoints.All(IsServer))
        {
            errors.Add($"{Key} has {(options.EndPoints.Count == 0 ? "no host" : "a host that cannot be used")}; {Expected}.");
        }

        if (options.DefaultDatabase is < 0)
        {
            errors.Add($"{Key}: defaultDatabase cannot be used; it must be a whole number of at least 0.");
        }

        (string Name, int Value, int Min)[] numbers =
        [
            ("connectTimeout", options.ConnectTimeout, 1), ("syncTimeout", options.SyncTimeout, 1), ("asyncTimeout", options.AsyncTimeout, 1), ("connectRetry", options.ConnectRetry, 0),
        ];
        foreach (var (name, _, min) in numbers.Where(number => number.Value < number.Min))
        {
            errors.Add(string.Create(CultureInfo.InvariantCulture, $"{Key}: {name} cannot be used; it must be a whole number of at least {min}."));
        }

        return options.DefaultDatabase;
    }

    private static bool IsServer(EndPoint server) => server switch
    {
        // Port 0 means that none is set, which is fine.
        DnsEndPoint { Host: var host } => IsHost(host),
        IPEndPoint => true,
        _ => server is UnixDomainSocketEndPoint,
    };
}
