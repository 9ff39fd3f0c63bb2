namespace Cache.Service.Http.Access;

/// <summary>
/// Keeps malformed requests out of every log. A malformed request line or header may contain a key; Kestrel repeats it in its
/// errors (most of them only while its own category is logged at Information) and logs them at Debug.
/// </summary>
internal static class KestrelLogs
{
    private const string Kestrel = "Microsoft.AspNetCore.Server.Kestrel";
    private static readonly string[] Leaking = [Kestrel, $"{Kestrel}.BadRequests", $"{Kestrel}.Http2", $"{Kestrel}.Http3"];

    /// <summary>Raises the minimum level of these categories to Warning, whatever the configuration says.</summary>
    public static void Cap(LoggerFilterOptions options)
    {
        // In every rule, because only the most specific one applies; the first is a fallback for categories without a rule.
        options.Rules.Insert(0, new(null, null, options.MinLevel, null));
        for (var number = 0; number < options.Rules.Count; number++)
        {
            var rule = options.Rules[number];
            options.Rules[number] = new(rule.ProviderName, rule.CategoryName, rule.LogLevel, (provider, category, level) =>
                (level >= LogLevel.Warning || !Array.Exists(Leaking, leaking => leaking.Equals(category, StringComparison.Ordinal)))
                && (rule.Filter?.Invoke(provider, category, level) ?? true));
        }
    }
}
