namespace Cache.Service.Options;

/// <summary>What the configuration sets, and what it sets in vain, for the log; taken before defaults are added to it.</summary>
internal sealed class GivenSettings
{
    // A longer value would bury the others.
    private const int MaxLength = 80;

    // Sections whose keys matter to somebody who reads the log; of the others, the appsettings.json has many.
    private static readonly string[] Sections = ["ConnectionStrings", "Kafka", "Authentication", "Kestrel"];

    private static readonly string[] HostKeys = ["urls", "http_ports", "https_ports", "AllowedHosts", "OTEL_EXPORTER_OTLP_ENDPOINT"];

    public GivenSettings(IConfigurationRoot configuration)
    {
        var keys = CacheOptionsReader.Keys.Concat(HostKeys).Concat(Sections);
        Settings = [.. keys.SelectMany(key => configuration.GetSection(key).AsEnumerable())
            .Where(setting => setting.Value is { } value && (value.Length > 0 || CacheOptionsReader.Keys.Contains(setting.Key)))
            .OrderBy(setting => setting.Key, StringComparer.OrdinalIgnoreCase)
            .Select(setting => $"{setting.Key}={Shown(setting.Key, setting.Value!)}")];
        UnknownVariables = CacheOptionsReader.Known.UnknownVariables(configuration);
    }

    /// <summary>Each key that is set, in alphabetical order, as <c>key=value</c>; values that may contain a secret are left out.</summary>
    public IReadOnlyList<string> Settings { get; }

    /// <summary>Environment variables that look like settings, but are not.</summary>
    public IReadOnlyList<string> UnknownVariables { get; }

    private static string Shown(string key, string value) =>
        Secrets.IsSensitive(key) || value.Contains('@', StringComparison.Ordinal) ? "(set)"
        : value.Length > MaxLength || value.Any(char.IsControl) ? $"({value.Length} characters)"
        : value.Length == 0 ? "(empty)"
        : value;
}
