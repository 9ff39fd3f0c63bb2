using System.Text;
using Spectre.Console;

namespace Cache.Producer.Simulator;

/// <summary>
/// A line at the bottom of a terminal that is rewritten in place, while all other output scrolls by above it. It takes the place of
/// standard output, so that whoever writes there, such as a logger, does not end up in the middle of the line.
/// </summary>
/// <param name="terminal">Where everything goes.</param>
/// <param name="width">The width of the terminal, in characters.</param>
/// <param name="hasColors">Whether the terminal has colours.</param>
internal sealed class StatusLine(TextWriter terminal, Func<int> width, bool hasColors) : TextWriter
{
    private const string Erase = "\r\e[2K";
    private const string Reset = "\e[0m";

    private readonly Lock _lock = new();
    private string _text = "";
    private string _color = "";
    private bool _isDrawn;
    private bool _isAtLineStart = true;

    /// <summary>The line of this process; null if standard output is no terminal.</summary>
    public static StatusLine? Current { get; private set; }

    /// <summary>Whether the terminal has colours.</summary>
    public bool HasColors => hasColors;

    /// <inheritdoc/>
    public override Encoding Encoding => terminal.Encoding;

    /// <summary>Takes the place of standard output, if that is a terminal; for the start of a program, before it has loggers.</summary>
    public static void Open()
    {
        // Spectre knows which terminals understand escape sequences, switches them on under Windows, and honours NO_COLOR.
        var profile = AnsiConsole.Profile;
        if (Current is null && profile.Capabilities.Ansi && profile.Out.IsTerminal)
        {
            Current = new(Console.Out, () => profile.Width, profile.Capabilities.ColorSystem != ColorSystem.NoColors);
            Console.SetOut(Current);
        }
    }

    /// <summary>Shows a text in the line, in place of the one before; as much of it as fits.</summary>
    /// <param name="text">The text, on one line; empty for none.</param>
    /// <param name="color">A colour as in an escape sequence (<c>32</c> is green); empty for none.</param>
    public void Show(string text, string color = "")
    {
        lock (_lock)
        {
            Hide();
            (_text, _color) = (text, color);
            Draw();
        }
    }

    /// <inheritdoc/>
    public override void Write(char value) => Write(value.ToString());

    /// <inheritdoc/>
    public override void Write(string? value)
    {
        if (string.IsNullOrEmpty(value))
        {
            return;
        }

        lock (_lock)
        {
            Hide();
            terminal.Write(value);
            _isAtLineStart = value[^1] == '\n';
            Draw();
        }
    }

    /// <inheritdoc/>
    public override void Write(char[] buffer, int index, int count) => Write(new string(buffer, index, count));

    /// <inheritdoc/>
    public override void WriteLine() => Write(CoreNewLine);

    /// <inheritdoc/>
    public override void WriteLine(string? value) => Write(value + NewLine);

    /// <inheritdoc/>
    public override void Flush()
    {
        lock (_lock)
        {
            terminal.Flush();
        }
    }

    private void Hide()
    {
        if (_isDrawn)
        {
            terminal.Write(Erase);
            _isDrawn = false;
        }
    }

    private void Draw()
    {
        if (_text.Length > 0 && _isAtLineStart)
        {
            // The last column is left free: some terminals wrap there.
            var shown = _text.Length < width() ? _text : _text[..Math.Max(0, width() - 1)];
            terminal.Write(hasColors && _color.Length > 0 ? $"\e[{_color}m{shown}{Reset}" : shown);
            _isDrawn = true;
        }

        terminal.Flush();
    }
}
