using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Cache.Benchmarks;

/// <summary>The figures of a run: a table for people, <c>name=value</c> lines for programs, and a JSON file.</summary>
internal sealed class Report
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private readonly List<Figure> _figures = [];

    /// <summary>Adds a figure from several rounds: median, minimum and maximum.</summary>
    public void Add(string name, string unit, IEnumerable<double> rounds)
    {
        var all = rounds.ToList();
        _figures.Add(new(name, unit, Median(all), all.Min(), all.Max()));
    }

    /// <summary>The median.</summary>
    public static double Median(IEnumerable<double> rounds)
    {
        var sorted = rounds.Order().ToList();
        var middle = sorted.Count / 2;
        return sorted.Count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /// <summary>Adds the ratio of two sides, round by round.</summary>
    public void AddRatio(string name, IEnumerable<double> ours, IEnumerable<double> theirs) =>
        Add(name, "×", ours.Zip(theirs, (our, their) => their == 0 ? double.NaN : our / their));

    /// <summary>Prints the table, then the lines.</summary>
    public void Print()
    {
        var width = _figures.Max(figure => figure.Name.Length);
        Console.WriteLine($"{"".PadRight(width)}  {"median",12}  {"min",12}  {"max",12}");
        foreach (var figure in _figures)
        {
            Console.WriteLine($"{figure.Name.PadRight(width)}  {Text(figure.Median),12}  {Text(figure.Min),12}  {Text(figure.Max),12}  {figure.Unit}");
        }

        Console.WriteLine();
        _figures.ForEach(figure => Console.WriteLine($"{figure.Name}={Text(figure.Median)}"));
    }

    /// <summary>Writes the figures to a JSON file, and keeps those of other verbs.</summary>
    public void Write(string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        var json = File.Exists(path) ? JsonNode.Parse(File.ReadAllText(path))!.AsObject() : [];
        foreach (var figure in _figures)
        {
            json[figure.Name] = new JsonObject { ["median"] = Json(figure.Median), ["min"] = Json(figure.Min), ["max"] = Json(figure.Max), ["unit"] = figure.Unit };
        }

        File.WriteAllText(path, json.ToJsonString(Indented));
    }

    // JSON has no number for what cannot be divided.
    private static JsonNode? Json(double value) => double.IsFinite(value) ? value : null;

    private static string Text(double value) => value.ToString(Math.Abs(value) < 100 ? "0.###" : "0", CultureInfo.InvariantCulture);

    private sealed record Figure(string Name, string Unit, double Median, double Min, double Max);
}
