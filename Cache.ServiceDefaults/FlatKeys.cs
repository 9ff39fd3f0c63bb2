using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Numerics;
using System.Text.Json;
using Microsoft.Extensions.Configuration;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// Reads flat snake_case keys from a configuration. An unusable value yields the fallback and adds a sentence to
/// <see cref="Errors"/>, so that all errors are reported at once.
/// </summary>
/// <param name="configuration">The configuration; its keys may be upper or lower case.</param>
/// <param name="prefix">
/// Prepended to every key; the prefixed key wins over the bare one. With a prefix, a blank value counts as not set; without, it is a value.
/// </param>
public sealed class FlatKeys(IConfigurationRoot configuration, string prefix = "")
{
    // A longer value cannot be valid, and would bury the message.
    private const int Longest = 100;

    private readonly HashSet<string> _names = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>Parses a text.</summary>
    /// <param name="text">The text, trimmed.</param>
    /// <param name="value">The value, if valid.</param>
    /// <returns>Whether the text is valid.</returns>
    public delegate bool Parser<T>(string text, out T value);

    /// <summary>The keys that have been read, without the prefix.</summary>
    public IReadOnlyCollection<string> Names => _names;

    /// <summary>One sentence per error: the key, the value unless it may be secret, and what would be valid.</summary>
    public List<string> Errors { get; } = [];

    /// <summary>Describes an invalid value in one sentence: the key, the value, and what would be valid.</summary>
    /// <param name="key">The key as written.</param>
    /// <param name="value">The value; not quoted if it is long or may contain a password.</param>
    /// <param name="right">What would be valid; completes the sentence.</param>
    public static string Wrong(string key, string? value, string right) =>
        string.IsNullOrEmpty(value) ? $"{key} is empty; {right}"

        // It may contain a password that was meant for another key.
        : value.Length > Longest || value.AsSpan().ContainsAny('@', '=') ? $"{key} cannot be used; {right}"
        : $"{key} is '{value}'; {right}";

    /// <summary>Adds <see cref="Wrong"/> to the errors, with the key as given.</summary>
    public void Refuse(string key, string? value, string right) => Errors.Add(Wrong(Given(key), value, right));

    /// <summary>Fails if there is any error.</summary>
    /// <exception cref="ConfigurationException">There are errors; the message lists them all.</exception>
    public void ThrowIfWrong()
    {
        if (Errors.Count > 0)
        {
            throw new ConfigurationException(Errors);
        }
    }

    /// <summary>Reads a text, trimmed.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">The value if the key is not set.</param>
    /// <param name="required">Whether an empty text is an error.</param>
    public string Text(string key, string fallback, bool required = false)
    {
        var text = Find(key);
        if (text is "" && required)
        {
            Refuse(key, text, $"give a name, or leave the key out for {fallback}.");
        }

        return text ?? fallback;
    }

    /// <summary>Reads a value with a parser of its own.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">The value if the key is not set or invalid.</param>
    /// <param name="parse">Parses a text.</param>
    /// <param name="right">What would be valid; completes a sentence.</param>
    public T Value<T>(string key, T fallback, Parser<T> parse, string right)
    {
        if (Find(key) is not { } text)
        {
            return fallback;
        }

        if (parse(text, out var value))
        {
            return value;
        }

        Refuse(key, text, right);
        return fallback;
    }

    /// <summary>Reads a whole number within a range.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">The value if the key is not set or invalid.</param>
    /// <param name="min">The minimum.</param>
    /// <param name="max">The maximum.</param>
    /// <param name="hint">A further sentence for the error.</param>
    public T Number<T>(string key, T fallback, T min, T max, string hint = "") where T : IBinaryInteger<T> =>
        Value(
            key, fallback,
            (string text, out T number) => T.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out number!) && number >= min && number <= max,
            string.Create(CultureInfo.InvariantCulture, $"it must be a whole number from {min} to {max} (default {fallback}).{hint}"));

    /// <summary>Reads true or false.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">The value if the key is not set or invalid.</param>
    public bool Flag(string key, bool fallback = false) =>
        Value<bool>(key, fallback, bool.TryParse, $"it must be true or false (default {(fallback ? "true" : "false")}).");

    /// <summary>
    /// Reads a list: a JSON array, comma-separated, or indexed keys, whichever the last source with the key uses. Items are
    /// trimmed, except in a JSON array.
    /// </summary>
    /// <param name="key">The key.</param>
    /// <param name="secret">Whether an error must not repeat the value.</param>
    /// <param name="keepsEmpty">Whether an empty text between two commas is an item.</param>
    /// <returns>Null if the key is not set or cannot be read.</returns>
    public IReadOnlyList<string>? List(string key, bool secret = false, bool keepsEmpty = false)
    {
        _names.Add(key);
        var name = Given(key);
        foreach (var provider in configuration.Providers.Reverse())
        {
            if (provider.TryGet(name, out var value) && !IsNone(value ?? ""))
            {
                return Split(key, value ?? "", secret, keepsEmpty);
            }

            if (provider.GetChildKeys([], name).Any())
            {
                return [.. configuration.GetSection(name).GetChildren().Select(child => child.Value?.Trim() ?? "")];
            }
        }

        return null;
    }

    /// <summary>Reads the addresses of Kafka brokers; no error quotes them.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">The value if the key is not set.</param>
    /// <returns><c>host:port[,host:port…]</c>.</returns>
    public string Servers(string key, string fallback)
    {
        if (!KafkaConnectionString.TryReadServers(string.Join(',', List(key, secret: true) ?? [fallback]), out var servers))
        {
            // People put user and password in front of the host, or a whole connection string in its place.
            Errors.Add($"{Given(key)} has a broker's address that cannot be used; it must be host:port, or several with commas (default {fallback}); credentials go to Kafka:sasl.username and Kafka:sasl.password.");
        }

        return servers;
    }

    /// <summary>The section of a key whose value has a structure.</summary>
    /// <param name="key">The key.</param>
    public IConfigurationSection Section(string key)
    {
        _names.Add(key);
        return configuration.GetSection(Given(key));
    }

    private string? Find(string key)
    {
        _names.Add(key);
        return configuration[Given(key)]?.Trim() is { } text && !IsNone(text) ? text : null;
    }

    /// <summary>The prefixed key if it has a value, otherwise the bare key.</summary>
    private string Given(string key)
    {
        var section = configuration.GetSection(prefix + key);
        return (section.Value is { } value && !IsNone(value)) || section.GetChildren().Any() ? prefix + key : key;
    }

    private bool IsNone(string value) => prefix.Length > 0 && string.IsNullOrWhiteSpace(value);

    private List<string>? Split(string key, string value, bool secret, bool keepsEmpty)
    {
        if (!value.TrimStart().StartsWith('[') || StartsWithAddress(value.TrimStart()))
        {
            return [.. value.Split(',', StringSplitOptions.TrimEntries | (keepsEmpty ? StringSplitOptions.None : StringSplitOptions.RemoveEmptyEntries))];
        }

        // Both ["a","b"] and [a, b].
        try
        {
            using var json = JsonDocument.Parse(value);
            return [.. json.RootElement.EnumerateArray().Select(item => item.GetString() ?? "")];
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            var inner = value.Trim().TrimStart('[');
            if (inner.EndsWith(']') && !inner.Contains('"'))
            {
                return Split(key, inner[..^1], secret, keepsEmpty);
            }

            Refuse(key, secret ? "unreadable" : value, "it must be a JSON array such as [\"a\",\"b\"], or names with commas.");
            return null;
        }
    }

    // [::1]:9092 begins like an array.
    private static bool StartsWithAddress(string value) =>
        value.IndexOf(']', StringComparison.Ordinal) is > 0 and var end
        && IPAddress.TryParse(value.AsSpan(1, end - 1), out var address) && address.AddressFamily == AddressFamily.InterNetworkV6;
}
