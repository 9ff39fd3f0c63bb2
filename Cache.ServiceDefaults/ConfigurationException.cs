namespace Microsoft.Extensions.Hosting;

/// <summary>The configuration is invalid; the message lists every error, each with its key and what would be valid.</summary>
/// <param name="errors">One sentence per error.</param>
public sealed class ConfigurationException(IReadOnlyList<string> errors)
    : Exception("The configuration cannot be used:" + string.Concat(errors.Select(error => Environment.NewLine + "  - " + OnOneLine(error))))
{
    /// <summary>One sentence per error.</summary>
    public IReadOnlyList<string> Errors { get; } = errors;

    // A quoted value, or a library's message, may contain line breaks or terminal colours.
    private static string OnOneLine(string error) => string.Concat(error.Select(c => char.IsControl(c) ? ' ' : c));
}
