using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using StackExchange.Redis;

namespace Cache.Service.Options;

/// <summary>
/// What stands in <c>ConnectionStrings:redis</c>: <c>host:port[,password=…]</c>, as StackExchange.Redis takes it, or a URI, as
/// most hosters hand it out (<c>redis://user:password@host:port/0</c>, <c>rediss://</c> with TLS). There may be a password in
/// it, so that no error repeats any part of it.
/// </summary>
internal sealed partial class RedisConnectionString
{
    /// <summary>The key of the configuration, which every error begins with.</summary>
    public const string Key = "ConnectionStrings:redis";

    private const string Right = "it must be host:port[,user=…][,password=…][,ssl=true], as StackExchange.Redis takes it, or redis://[user:password@]host[:port][/database], rediss:// with TLS";

    private RedisConnectionString(string text, int? database) => (Text, Database) = (text, database);

    /// <summary>As StackExchange.Redis takes it.</summary>
    public string Text { get; }

    /// <summary>The logical database that it names.</summary>
    public int? Database { get; }

    /// <summary>Reads a connection string of either form.</summary>
    /// <param name="text">What stands in the configuration.</param>
    /// <param name="errors">Gets a sentence an error, with the key and what would be right.</param>
    public static RedisConnectionString Read(string text, ICollection<string> errors)
    {
        if (text.Contains("://", StringComparison.Ordinal))
        {
            if (Translate(text.Trim()) is not { } translated)
            {
                errors.Add($"{Key} is a URI that cannot be used; {Right}. Special characters of user and password are percent-encoded (%40 for @); a comma cannot be in them.");
                return new("", null);
            }

            text = translated;
        }

        return new(text, Check(text, errors));
    }

    /// <summary>Whether a text can be the name or the address of a host.</summary>
    public static bool IsHost(string text) => Host().IsMatch(text);

    [GeneratedRegex(@"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])\z")]
    private static partial Regex Host();

    /// <summary>Says a URI in StackExchange.Redis' words; null when it cannot.</summary>
    private static string? Translate(string text)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out var uri) || uri.Scheme is not ("redis" or "rediss")
            || !IsHost(uri.Host) || uri.Query.Length > 0 || uri.Fragment.Length > 0)
        {
            return null;
        }

        var words = new List<string> { $"{uri.Host}:{(uri.Port > 0 ? uri.Port : 6379).ToString(CultureInfo.InvariantCulture)}" };
        if (uri.Scheme == "rediss")
        {
            words.Add("ssl=true");
        }

        if (uri.UserInfo.Length > 0)
        {
            var (user, password) = uri.UserInfo.Split(':', 2) is [var first, var second]
                ? (Uri.UnescapeDataString(first), Uri.UnescapeDataString(second))
                : ("", "");
            if (password.Length == 0 || !CanBeAValue(user) || !CanBeAValue(password))
            {
                return null;
            }

            words.Add($"password={password}");
            if (user.Length > 0)
            {
                words.Add($"user={user}");
            }
        }

        if (uri.AbsolutePath is not ("" or "/"))
        {
            words.Add($"defaultDatabase={uri.AbsolutePath[1..]}");
        }

        return string.Join(',', words);
    }

    // StackExchange.Redis knows no quotes, and takes blanks away.
    private static bool CanBeAValue(string text) => !text.Contains(',', StringComparison.Ordinal) && text.Trim() == text;

    /// <summary>Looks at what results, since StackExchange.Redis takes nearly anything for a host; the database, where it names one.</summary>
    private static int? Check(string text, ICollection<string> errors)
    {
        ConfigurationOptions options;
        try
        {
            options = ConfigurationOptions.Parse(text);
        }
        catch (Exception exception) when (exception is ArgumentException or FormatException or OverflowException)
        {
            // Its own text could repeat a password.
            errors.Add($"{Key} cannot be read; {Right}.");
            return null;
        }

        if (options.EndPoints.Count == 0 || !options.EndPoints.All(IsServer))
        {
            errors.Add($"{Key} has {(options.EndPoints.Count == 0 ? "no host" : "a host that cannot be used")}; {Right}.");
        }

        if (options.DefaultDatabase is < 0)
        {
            errors.Add($"{Key}: defaultDatabase cannot be used; it must be a whole number from 0.");
        }

        (string Name, int Value, int Least)[] numbers =
        [
            ("connectTimeout", options.ConnectTimeout, 1), ("syncTimeout", options.SyncTimeout, 1), ("asyncTimeout", options.AsyncTimeout, 1), ("connectRetry", options.ConnectRetry, 0),
        ];
        foreach (var (name, _, least) in numbers.Where(number => number.Value < number.Least))
        {
            errors.Add(string.Create(CultureInfo.InvariantCulture, $"{Key}: {name} cannot be used; it must be a whole number from {least}."));
        }

        return options.DefaultDatabase;
    }

    private static bool IsServer(EndPoint server) => server switch
    {
        // Port 0: none was given.
        DnsEndPoint { Host: var host } => IsHost(host),
        IPEndPoint => true,
        _ => server is UnixDomainSocketEndPoint,
    };
}
