using System.Text.RegularExpressions;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Configuration.EnvironmentVariables;
using Microsoft.Extensions.Configuration.Json;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// The names that a program reads from its configuration. Everything else is ignored by .NET, and a misspelt key would silently
/// have no effect.
/// </summary>
/// <param name="keys">Its flat keys. A list may also have indexed keys.</param>
/// <param name="hostKeys">Flat keys that the host and its libraries read.</param>
/// <param name="sections">Sections whose keys others check.</param>
/// <param name="connections">Names of its connection strings.</param>
public sealed partial class KnownKeys(IEnumerable<string> keys, IEnumerable<string> hostKeys, IEnumerable<string> sections, IEnumerable<string> connections)
{
    private const string Connections = "ConnectionStrings";

    // The service's own variables begin like this; so do few of others.
    private static readonly string[] Families = ["cache_", "kafka_", "redis_", "window_", "stream_", "schema_registry_", "rate_limit_", "metric_type", "api_key", "cors_"];

    private readonly HashSet<string> _keys = new(keys, StringComparer.OrdinalIgnoreCase);
    private readonly HashSet<string> _hostKeys = new(hostKeys, StringComparer.OrdinalIgnoreCase);
    private readonly HashSet<string> _sections = new(sections, StringComparer.OrdinalIgnoreCase);
    private readonly HashSet<string> _connections = new(connections.Select(name => $"{Connections}:{name}"), StringComparer.OrdinalIgnoreCase);

    /// <summary>
    /// Can be put before every key; null for none. With a prefix, only names that have it are checked: others are too general to
    /// belong to one program.
    /// </summary>
    public string? Prefix { get; init; }

    /// <summary>Flat keys that the host and its libraries read.</summary>
    public IReadOnlyCollection<string> HostKeys => _hostKeys;

    /// <summary>The sections, and that of connection strings.</summary>
    public IReadOnlyCollection<string> Sections => [.. _sections, Connections];

    /// <summary>Whether a name, with colons if it is in a section, is read.</summary>
    public bool Contains(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        name = IsPrefixed(name) ? name[Prefix!.Length..] : name;
        var root = name.Split(':')[0];
        return _keys.Contains(root) || _hostKeys.Contains(root) || _sections.Contains(root) || _connections.Contains(name)
            || root.StartsWith("OTEL_", StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>
    /// Finds unknown names in everything but the environment, which has variables for others; there, only what is a key in all but
    /// its punctuation is an error, such as <c>API_KEY</c>, without which all data would be open.
    /// </summary>
    /// <param name="configuration">All sources.</param>
    /// <param name="errors">Receives one sentence per name.</param>
    public void Check(IConfigurationRoot configuration, ICollection<string> errors)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        ArgumentNullException.ThrowIfNull(errors);
        var byPlain = _keys.Append("AllowedHosts").Append(Connections).ToDictionary(Plain);
        var found = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        foreach (var provider in Providers(configuration))
        {
            foreach (var name in Names(provider).Where(IsUnknown))
            {
                var isMeant = byPlain.TryGetValue(Plain(name), out var meant);
                if ((isMeant || provider is not EnvironmentVariablesConfigurationProvider) && found.Add(name))
                {
                    var file = provider is JsonConfigurationProvider { Source.Path: { } path } ? $" ({Path.GetFileName(path)})" : "";
                    errors.Add($"{name} is not a configuration key{(isMeant ? $"; did you mean {meant}?" : DidYouMean(name))}{file}");
                }
            }
        }
    }

    /// <summary>The environment variables that look like keys of this program but are not read, each with the name that may be meant.</summary>
    /// <param name="configuration">All sources.</param>
    public IReadOnlyList<string> UnknownVariables(IConfigurationRoot configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);

        // Aspire describes what a program refers to in variables as well: REDIS_URI, REDIS_PASSWORD, CACHE_HTTP.
        string[] referredTo =
        [
            .. configuration.GetSection(Connections).GetChildren().Select(child => $"{child.Key.Replace('-', '_')}_"),
            .. configuration.GetSection("services").GetChildren().Select(child => $"{child.Key.Replace('-', '_')}_"),
        ];
        var families = Prefix is null ? Families : [Prefix];
        return
        [
            .. Providers(configuration).OfType<EnvironmentVariablesConfigurationProvider>().SelectMany(Names).Distinct(StringComparer.OrdinalIgnoreCase)
                .Where(name => IsUnknown(name) && !OfKubernetes().IsMatch(name) && !StartsWithAny(name, referredTo))
                .Select(name => (Name: name, Meant: NearKey(name)))
                .Where(variable => variable.Meant is not null || StartsWithAny(variable.Name, families))
                .OrderBy(variable => variable.Name, StringComparer.OrdinalIgnoreCase)
                .Select(variable => Variable(variable.Name) + (variable.Meant is { } meant ? $" (did you mean {Variable(meant, like: variable.Name)}?)" : "")),
        ];
    }

    private bool IsPrefixed(string name) => Prefix is not null && name.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase);

    private bool IsUnknown(string name) => (Prefix is null || IsPrefixed(name)) && !Contains(name) && !IsComment(name);

    /// <summary>JSON has no comments, so people write <c>"_comment": "…"</c> or <c>"//": "…"</c>, and editors read <c>$schema</c>.</summary>
    private static bool IsComment(string name) => name is ['_' or '/' or '$', ..];

    private static bool StartsWithAny(string name, string[] starts) =>
        Array.Exists(starts, start => name.StartsWith(start, StringComparison.OrdinalIgnoreCase));

    /// <summary>The sources, those of a configuration inside another included.</summary>
    private static IEnumerable<IConfigurationProvider> Providers(IConfigurationRoot configuration) =>
        configuration.Providers.SelectMany(provider => provider is ChainedConfigurationProvider { Configuration: IConfigurationRoot inner } ? Providers(inner) : [provider]);

    private static IEnumerable<string> Names(IConfigurationProvider provider) =>
        provider.GetChildKeys([], null).Distinct(StringComparer.OrdinalIgnoreCase)
            .SelectMany(root => root.Equals(Connections, StringComparison.OrdinalIgnoreCase)
                ? provider.GetChildKeys([], root).Distinct(StringComparer.OrdinalIgnoreCase).Select(child => $"{root}:{child}")
                : [root]);

    private string DidYouMean(string name) =>
        Spelling.DidYouMean(name, [.. _keys.Select(key => Prefix + key), .. _hostKeys, .. _sections, .. _connections]) is { Length: > 0 } meant ? meant : "; --help lists those that are.";

    // Stricter than for a name that must be wrong: the environment is full of others' names.
    private string? NearKey(string name) =>
        _keys.Select(key => Prefix + key).Concat(_connections)
            .Where(key => Spelling.Distance(name, key) <= (key.Length - key.IndexOf(':', StringComparison.Ordinal)) / 5)
            .MinBy(key => Spelling.Distance(name, key));

    private static string Variable(string name, string? like = null)
    {
        var variable = name.Replace(":", "__", StringComparison.Ordinal);
        return like is not null && !like.Any(char.IsLower) ? variable.ToUpperInvariant() : variable;
    }

    private static string Plain(string key) =>
        string.Concat(key.Where(char.IsAsciiLetterOrDigit)).ToLowerInvariant().TrimEnd("0123456789s".ToCharArray());

    /// <summary>What Kubernetes sets in every pod for each service of its namespace.</summary>
    [GeneratedRegex("_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)$")]
    private static partial Regex OfKubernetes();
}
