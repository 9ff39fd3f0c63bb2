namespace Microsoft.Extensions.Hosting;

/// <summary>The configuration cannot be used; the message lists every error, each with its key and what would be right.</summary>
/// <param name="errors">One sentence an error.</param>
public sealed class ConfigurationException(IReadOnlyList<string> errors)
    : Exception("The configuration cannot be used:" + string.Concat(errors.Select(error => Environment.NewLine + "  - " + OnOneLine(error))))
{
    /// <summary>One sentence an error.</summary>
    public IReadOnlyList<string> Errors { get; } = errors;

    // A value that is repeated, or a library's words, may have line breaks, or colours for a terminal.
    private static string OnOneLine(string error) => string.Concat(error.Select(c => char.IsControl(c) ? ' ' : c));
}
