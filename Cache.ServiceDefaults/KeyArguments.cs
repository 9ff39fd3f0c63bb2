using System.CommandLine;
using System.CommandLine.Invocation;

namespace Microsoft.Extensions.Hosting;

/// <summary>A command-line option that sets a configuration key.</summary>
public sealed class KeyOption : Option<string[]>
{
    /// <summary>Creates the option of a key.</summary>
    /// <param name="key">The key; the option's name is the key after two hyphens.</param>
    public KeyOption(string key) : base("--" + key)
    {
        Key = key;

        // A missing value is reported together with all other errors, and the last of several values wins.
        Arity = ArgumentArity.ZeroOrMore;
    }

    /// <summary>The key.</summary>
    public string Key { get; }

    /// <summary>Whether the option without a value means true.</summary>
    public bool IsFlag { get; init; }
}

/// <summary>
/// Reads configuration keys from the command line: <c>--key value</c>, <c>--key=value</c>, <c>key=value</c>, case-insensitive.
/// An unknown key is an error: .NET would ignore it, and a misspelt <c>--cuont 100</c> would send forever.
/// </summary>
public sealed class KeyArguments
{
    // Values are taken verbatim: a password may begin with @, which usually introduces a response file.
    private static readonly ParserConfiguration Verbatim = new() { EnablePosixBundling = false, ResponseFileTokenReplacer = null };

    private readonly Dictionary<string, Option> _options;
    private readonly Func<string, bool> _isKey;
    private readonly IReadOnlyCollection<string> _sections;
    private readonly ParseResult _result;
    private readonly Dictionary<string, string?> _keys = new(StringComparer.OrdinalIgnoreCase);
    private readonly List<string> _errors = [];

    /// <summary>Parses a command line.</summary>
    /// <param name="command">Has a <see cref="KeyOption"/> for each known key.</param>
    /// <param name="isKey">Whether a name without an option of its own is a key, such as one in a section.</param>
    /// <param name="args">The command line.</param>
    /// <param name="sections">Sections to suggest in place of a misspelt one.</param>
    public KeyArguments(RootCommand command, Func<string, bool> isKey, IReadOnlyList<string> args, IReadOnlyCollection<string>? sections = null)
    {
        ArgumentNullException.ThrowIfNull(command);
        _isKey = isKey;
        _sections = sections ?? [];
        _options = command.Options.ToDictionary(option => option.Name, StringComparer.OrdinalIgnoreCase);
        _result = command.Parse([.. args.SelectMany((arg, i) => Words(command, arg, args.ElementAtOrDefault(i + 1)))], Verbatim);
        foreach (var option in command.Options.OfType<KeyOption>())
        {
            Read(option);
        }

        ReadRest();
    }

    /// <summary>The given keys, case-insensitive, and their values; true for a flag without a value.</summary>
    public IReadOnlyDictionary<string, string?> Keys => _keys;

    /// <summary>One sentence per error. None repeats a value, which may be a password.</summary>
    public IReadOnlyList<string> Errors => _errors;

    /// <summary>Prints help or the version, if requested instead of a run.</summary>
    /// <param name="output">Where to print it.</param>
    /// <returns>Whether anything was printed.</returns>
    public bool Answer(TextWriter output)
    {
        if (_result.Action is null or ParseErrorAction)
        {
            return false;
        }

        _result.Invoke(new InvocationConfiguration { Output = output });
        return true;
    }

    /// <summary>
    /// Splits an argument at its equals sign, because the library would also split at a colon, which keys in sections contain.
    /// Gives a flag without a value its value, because the library would consume the next argument, whatever it is.
    /// </summary>
    private IEnumerable<string> Words(RootCommand command, string arg, string? next)
    {
        if (arg == "--")
        {
            // The library takes nothing after it for an option.
            _errors.Add($"{arg}: no such option");
            return [];
        }

        var (name, value) = Split(arg);
        if (!_options.TryGetValue(name, out var option) && IsDashed(name) && _isKey(name[2..]))
        {
            option = new KeyOption(name[2..]) { Hidden = true };
            command.Add(option);
            _options.Add(name, option);
        }

        if (value is null && option is KeyOption { IsFlag: true } && (next is null || IsDashed(next)))
        {
            value = "true";
        }

        return option is null ? [arg] : value is null ? [option.Name] : [option.Name, value];
    }

    private void Read(KeyOption option)
    {
        if (_result.GetResult(option) is not { Implicit: false } given)
        {
            return;
        }

        if (given.Tokens.Count < given.IdentifierTokenCount)
        {
            _errors.Add($"{option.Name}: must be followed by a value");
            return;
        }

        _keys[option.Key] = given.Tokens[^1].Value;
    }

    private void ReadRest()
    {
        var rest = _result.UnmatchedTokens;
        for (var i = 0; i < rest.Count; i++)
        {
            var (name, value) = Split(rest[i]);
            if (value is not null && !IsDashed(name) && (_isKey(name) || _options.GetValueOrDefault("--" + name) is KeyOption))
            {
                _keys[name] = value;
                continue;
            }

            _errors.Add($"{name}: no such option{(name.StartsWith('-') ? DidYouMean(name) : "")}");
            if (name.StartsWith('-') && value is null && i + 1 < rest.Count && !IsDashed(rest[i + 1]))
            {
                // Skip its value, so that it is not repeated.
                i++;
            }
        }
    }

    private string DidYouMean(string name) =>
        name.IndexOf(':', StringComparison.Ordinal) is > 0 and var colon && !_options.Keys.Any(known => known.StartsWith(name[..(colon + 1)], StringComparison.OrdinalIgnoreCase))
            ? Spelling.Nearest(name[..colon], _sections.Select(section => $"--{section}")) is { } section ? $"; did you mean {section}{name[colon..]}?" : ""
            : Spelling.DidYouMean(name, _options.Keys.Where(known => !known.Contains('<', StringComparison.Ordinal)));

    private static bool IsDashed(string arg) => arg.StartsWith("--", StringComparison.Ordinal);

    private static (string Name, string? Value) Split(string arg) =>
        arg.IndexOf('=', StringComparison.Ordinal) is >= 0 and var at ? (arg[..at], arg[(at + 1)..]) : (arg, null);
}
