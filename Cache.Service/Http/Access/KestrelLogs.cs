namespace Cache.Service.Http.Access;

/// <summary>
/// Keeps what Kestrel could not read out of every log. A request line or a header that is malformed may have a key in it; Kestrel
/// repeats it in its errors, most only where its own category is logged at Information, and logs these at Debug.
/// </summary>
internal static class KestrelLogs
{
    private const string Kestrel = "Microsoft.AspNetCore.Server.Kestrel";
    private static readonly string[] Repeating = [Kestrel, $"{Kestrel}.BadRequests", $"{Kestrel}.Http2", $"{Kestrel}.Http3"];

    /// <summary>Caps these categories at Warning, whatever the configuration asks for.</summary>
    public static void Cap(LoggerFilterOptions options)
    {
        // In each rule, since the most specific one alone counts; the first one is for what none of the others is for.
        options.Rules.Insert(0, new(null, null, options.MinLevel, null));
        for (var number = 0; number < options.Rules.Count; number++)
        {
            var rule = options.Rules[number];
            options.Rules[number] = new(rule.ProviderName, rule.CategoryName, rule.LogLevel, (provider, category, level) =>
                (level >= LogLevel.Warning || !Array.Exists(Repeating, repeating => repeating.Equals(category, StringComparison.Ordinal)))
                && (rule.Filter?.Invoke(provider, category, level) ?? true));
        }
    }
}
