using System.Globalization;
using System.Text;

namespace Cache.Client;

/// <summary>Builds the address of a request, relative to the service's.</summary>
internal sealed class Route(string path)
{
    private readonly StringBuilder _text = new(path);
    private char _before = '?';

    /// <summary>Adds a parameter, unless it is null.</summary>
    public Route With(string name, string? value)
    {
        if (value is not null)
        {
            _text.Append(_before).Append(name).Append('=').Append(Uri.EscapeDataString(value));
            _before = '&';
        }

        return this;
    }

    /// <summary>Adds a number, unless it is null.</summary>
    public Route With(string name, int? value) => With(name, value?.ToString(CultureInfo.InvariantCulture));

    /// <summary>Adds a time, unless it is null.</summary>
    public Route With(string name, DateTimeOffset? value) => With(name, value?.ToUnixTimeMilliseconds().ToString(CultureInfo.InvariantCulture));

    /// <summary>Adds a duration, unless it is null.</summary>
    /// <exception cref="ArgumentException">It is not a whole number of seconds.</exception>
    public Route With(string name, TimeSpan? value) => value is not { } duration ? this
        : duration.Ticks % TimeSpan.TicksPerSecond == 0 ? With(name, $"{duration.Ticks / TimeSpan.TicksPerSecond}s")
        : throw new ArgumentException($"{name} is {duration}; it must be whole seconds.", name);

    /// <summary>Adds a list of names, unless it is empty.</summary>
    public Route With(string name, IReadOnlyCollection<string>? names) => With(name, names is not { Count: > 0 } ? null
        : string.Join(',', names.Select(one => one.Replace(@"\", @"\\", StringComparison.Ordinal).Replace(",", @"\,", StringComparison.Ordinal))));

    /// <summary>The address.</summary>
    public Uri Uri => new(_text.ToString(), UriKind.Relative);
}
