using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Cache.Metrics;

/// <summary>
/// Reads the list <c>metric_types</c>, as indexed keys or as one JSON array. Given types come after the defaults; one with the name
/// of a default replaces it. Every error is reported, with the path of its key.
/// </summary>
public sealed partial class MetricTypesReader
{
    /// <summary>The key of the list.</summary>
    public const string Key = "metric_types";

    private const int MaxUnitLength = 20;
    private const int MaxSeparatorLength = 8;
    private const int MaxWindowSeconds = 366 * 86400;

    // They name routes, or types of updates.
    private static readonly string[] ReservedNames = ["overview", "session", "sessions"];
    private static readonly string[] TypeProperties =
        ["name", "key", "topics", "time", "end", "time_unit", "dimension", "separator", "measures", "window_seconds"];

    private static readonly string[] MeasureProperties = ["name", "field", "kind", "unit", "rollup", "signed"];

    private readonly List<string> _errors;

    private MetricTypesReader(List<string> errors) => _errors = errors;

    /// <summary>Reads all types: the defaults, and those given.</summary>
    /// <param name="keys">The configuration, and where each error is added as one sentence.</param>
    public static IReadOnlyList<MetricType> Read(FlatKeys keys)
    {
        var errors = keys.Errors;
        var reader = new MetricTypesReader(errors);
        var types = MetricType.Defaults.ToList();
        foreach (var section in reader.Entries(keys.Section(Key)))
        {
            if (reader.Type(section) is not { } type)
            {
                continue;
            }

            var same = types.FindIndex(other => other.Name == type.Name);
            if (same >= 0 && types[same].IsDefault)
            {
                types[same] = type;
            }
            else if (same >= 0)
            {
                errors.Add($"{section.Path}:name is '{type.Name}' again; every type needs a name of its own.");
            }
            else
            {
                types.Add(type);
            }
        }

        foreach (var same in types.GroupBy(type => type.Key).Where(same => same.Count() > 1))
        {
            errors.Add($"{Key}: {string.Join(" and ", same.Select(type => type.Name))} have the same key '{same.Key}'; their windows would overwrite each other in Redis.");
        }

        return types;
    }

    /// <summary>Reads a time unit.</summary>
    public static bool TryParseUnit(string text, out TimeUnit unit)
    {
        (var known, unit) = text switch
        {
            "ms" => (true, TimeUnit.Milliseconds),
            "s" => (true, TimeUnit.Seconds),
            "us" => (true, TimeUnit.Microseconds),
            _ => (false, TimeUnit.Milliseconds),
        };
        return known;
    }

    private IEnumerable<IConfigurationSection> Entries(IConfigurationSection section)
    {
        if (string.IsNullOrWhiteSpace(section.Value))
        {
            return section.GetChildren();
        }

        if (!section.Value.TrimStart().StartsWith('['))
        {
            _errors.Add($"{Key} must be a list of types, as a JSON array or with indexed keys such as {Key}:0:name.");
            return [];
        }

        try
        {
            using var json = new MemoryStream(Encoding.UTF8.GetBytes($"{{\"{Key}\":{section.Value}}}"));
            return [.. new ConfigurationBuilder().AddJsonStream(json).Build().GetSection(Key).GetChildren()];
        }
        catch (Exception exception) when (exception is JsonException or FormatException or InvalidDataException)
        {
            _errors.Add($"{Key} is not JSON: {exception.GetBaseException().Message.TrimEnd('.')}.");
            return [];
        }
    }

    private MetricType? Type(IConfigurationSection section)
    {
        if (section.Value is { Length: > 0 })
        {
            _errors.Add($"{section.Path} must have the properties {string.Join(", ", TypeProperties)}.");
            return null;
        }

        var errors = _errors.Count;
        CheckProperties(section, TypeProperties);
        var name = Name(section, "name");
        if (ReservedNames.Contains(name))
        {
            Refuse(section, "name", "this name is reserved.");
        }

        var type = new MetricType
        {
            Name = name ?? "",
            Key = Name(section, "key", name ?? "") ?? "",
            Topics = Topics(section),
            TimeField = Field(section, "time", "window_start"),
            EndField = Field(section, "end", "window_end"),
            TimeUnit = Unit(section),
            DimensionFields = Dimensions(section),
            Separator = Separator(section),
            Measures = Measures(section),
            WindowSeconds = WindowSeconds(section),
        };

        string[] fields = [type.TimeField, type.EndField, .. type.DimensionFields, .. type.Measures.Select(measure => measure.Field)];
        foreach (var twice in fields.GroupBy(field => field).Where(same => same.Key.Length > 0 && same.Count() > 1))
        {
            _errors.Add($"{section.Path}: the field '{twice.Key}' is used twice; each field means one thing.");
        }

        return _errors.Count == errors ? type : null;
    }

    private void CheckProperties(IConfigurationSection section, string[] known)
    {
        foreach (var child in section.GetChildren().Where(child => !known.Contains(child.Key, StringComparer.OrdinalIgnoreCase)))
        {
            var meant = Spelling.DidYouMean(child.Key, known);
            _errors.Add($"{child.Path} is not a property{(meant.Length > 0 ? meant : $"; it must be {string.Join(", ", known[..^1])} or {known[^1]}.")}");
        }
    }

    private string? Name(IConfigurationSection section, string property, string? fallback = null)
    {
        var text = section[property] ?? fallback;
        if (text is null || !NameShape.IsMatch(text))
        {
            // The error is about the name, which the key defaults to.
            if (section[property] is not null || fallback is null)
            {
                Refuse(section, property, "it must be lower-case letters, digits and underscores, beginning with a letter.");
            }

            return null;
        }

        return text;
    }

    private string Field(IConfigurationSection section, string property, string fallback)
    {
        var text = section[property] ?? fallback;
        if (text.Length == 0)
        {
            Refuse(section, property, "it must be the name of a field.");
        }

        return text;
    }

    private List<string> Topics(IConfigurationSection section)
    {
        var topics = List(section, "topics");
        if (topics.Count == 0)
        {
            _errors.Add($"{section.Path}:topics is missing; name at least one topic, or a pattern that begins with ^.");
        }

        foreach (var topic in topics.Where(topic => !TopicPattern.IsPattern(topic) && !TopicPattern.IsName(topic)))
        {
            _errors.Add($"{section.Path}:topics has '{topic}'; a topic has 1 to 249 letters, digits, dots, underscores or hyphens; a pattern begins with ^.");
        }

        foreach (var (topic, error) in topics.Where(TopicPattern.IsPattern).Select(topic => (topic, TopicPattern.Error(topic))).Where(pattern => pattern.Item2 is not null))
        {
            _errors.Add($"{section.Path}:topics has '{topic}'; {error}");
        }

        return topics;
    }

    private List<string> Dimensions(IConfigurationSection section)
    {
        var fields = List(section, "dimension");
        if (fields.Count is 0 or > MetricType.MaxDimensionFields || fields.Contains(""))
        {
            _errors.Add($"{section.Path}:dimension names {fields.Count} fields; it must name 1 to {MetricType.MaxDimensionFields}.");
        }

        return fields;
    }

    private string Separator(IConfigurationSection section)
    {
        var text = section["separator"] ?? MetricType.DefaultSeparator;
        if (text.Length is 0 or > MaxSeparatorLength || text.Any(char.IsControl) || text.Any(char.IsSurrogate))
        {
            Refuse(section, "separator", $"it must have 1 to {MaxSeparatorLength} characters.");
        }

        return text;
    }

    private TimeUnit Unit(IConfigurationSection section)
    {
        var text = section["time_unit"] ?? "ms";
        if (!TryParseUnit(text, out var unit))
        {
            Refuse(section, "time_unit", "it must be ms, s or us.");
        }

        return unit;
    }

    private int? WindowSeconds(IConfigurationSection section)
    {
        if (section["window_seconds"] is not { } text)
        {
            return null;
        }

        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) && seconds is > 0 and <= MaxWindowSeconds)
        {
            return seconds;
        }

        Refuse(section, "window_seconds", $"it must be a whole number from 1 to {MaxWindowSeconds}.");
        return null;
    }

    private List<Measure> Measures(IConfigurationSection section)
    {
        var sections = section.GetSection("measures").GetChildren().ToList();
        if (sections.Count is 0 or > MetricType.MaxMeasures)
        {
            _errors.Add($"{section.Path}:measures has {sections.Count} measures; it must have 1 to {MetricType.MaxMeasures}.");
        }

        var measures = sections.ConvertAll(Measure);
        foreach (var same in measures.GroupBy(measure => measure.Name).Where(same => same.Key.Length > 0 && same.Count() > 1))
        {
            _errors.Add($"{section.Path}:measures has '{same.Key}' twice; every measure needs a name of its own.");
        }

        return measures;
    }

    private Measure Measure(IConfigurationSection section)
    {
        CheckProperties(section, MeasureProperties);
        var name = Name(section, "name") ?? "";
        var kind = Choice(section, "kind", MeasureKind.Count, "it must be count or number.");
        var hasRollup = section["rollup"] is not null;
        if (kind == MeasureKind.Number && !hasRollup)
        {
            _errors.Add($"{section.Path}:rollup is missing; for a number it must be sum, max, min, mean or last: only you know whether its values can be added.");
        }

        var rollup = hasRollup ? Choice(section, "rollup", Rollup.Sum, "it must be sum, max, min, mean or last.") : Rollup.Sum;
        var unit = section["unit"];
        if (unit is { Length: 0 or > MaxUnitLength } || unit?.Any(char.IsControl) == true)
        {
            Refuse(section, "unit", $"it must have 1 to {MaxUnitLength} characters.");
        }

        var signed = false;
        if (section["signed"] is { } text && (!bool.TryParse(text, out signed) || (signed && kind == MeasureKind.Count)))
        {
            Refuse(section, "signed", "it must be true or false; a count is never negative.");
        }

        return new(name, Field(section, "field", name), kind, rollup, unit, signed);
    }

    private T Choice<T>(IConfigurationSection section, string property, T fallback, string right)
        where T : struct, Enum
    {
        var text = section[property];
        if (text is not null && text.All(char.IsAsciiLetterLower) && Enum.TryParse<T>(text, ignoreCase: true, out var value))
        {
            return value;
        }

        Refuse(section, property, right);
        return fallback;
    }

    /// <summary>Reads a list: indexed keys, a JSON array, or names with commas.</summary>
    private List<string> List(IConfigurationSection section, string property)
    {
        var list = section.GetSection(property);
        if (list.Value is not { Length: > 0 } text)
        {
            return [.. list.GetChildren().Select(child => child.Value ?? "")];
        }

        if (!text.StartsWith('['))
        {
            return [.. text.Split(',', StringSplitOptions.TrimEntries)];
        }

        try
        {
            return JsonSerializer.Deserialize<List<string>>(text) ?? [];
        }
        catch (JsonException)
        {
            Refuse(section, property, "it must be a list of names.");
            return [];
        }
    }

    private void Refuse(IConfigurationSection section, string property, string right) =>
        _errors.Add(section[property] is null ? $"{section.Path}:{property} is missing; {right}" : FlatKeys.Wrong($"{section.Path}:{property}", section[property], right));

    [GeneratedRegex(@"^[a-z][a-z0-9_]*\z")]
    private static partial Regex NameShape { get; }
}
