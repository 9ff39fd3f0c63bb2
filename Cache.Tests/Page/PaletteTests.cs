using System.Globalization;
using System.Text.RegularExpressions;
using static System.Math;

namespace Cache.Tests.Page;

/// <summary>The colours of names in page.css: told apart by everybody, in both schemes.</summary>
public sealed partial class PaletteTests
{
    /// <summary>In OKLab, where 0.02 is the least that can be seen.</summary>
    private const double MinDistance = 0.08;

    private const double MinContrast = 3;

    /// <summary>How colours are seen, as matrices over linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.</summary>
    private static readonly Dictionary<string, double[]> Eyes = new()
    {
        ["all cones"] = [1, 0, 0, 0, 1, 0, 0, 0, 1],
        ["protanopia"] = [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
        ["deuteranopia"] = [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881],
        ["tritanopia"] = [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.303900],
    };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Colours_AreToldApart_ByEveryEye_AndFromTheCard(bool isDark)
    {
        var css = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Page", "page.css"));
        var colours = Scheme(css, isDark);
        var card = colours["card"];
        var series = colours.Where(colour => colour.Key.StartsWith("series-", StringComparison.Ordinal)).ToList();

        Assert.Equal(9, series.Count);
        Assert.Contains($"COLORS = {series.Count - 1};", File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Page", "colors.js")), StringComparison.Ordinal);
        foreach (var (name, colour) in series)
        {
            Assert.True(Contrast(colour, card) >= MinContrast, $"{name} on the card: {Contrast(colour, card):F2}");
            foreach (var (eye, matrix) in Eyes)
            {
                foreach (var (other, second) in series.Where(candidate => string.CompareOrdinal(candidate.Key, name) > 0))
                {
                    var distance = Distance(Seen(colour, matrix), Seen(second, matrix));
                    Assert.True(distance >= MinDistance, $"{name} and {other} with {eye}: {distance:F3}");
                }
            }
        }
    }

    /// <summary>The colours that style sheets define first, or those that the dark scheme replaces them with; in linear RGB.</summary>
    private static Dictionary<string, double[]> Scheme(string css, bool isDark)
    {
        var dark = css.IndexOf("prefers-color-scheme: dark", StringComparison.Ordinal);
        var part = isDark ? css[dark..] : css[..dark];
        return Variable().Matches(part).DistinctBy(match => match.Groups[1].Value)
            .ToDictionary(match => match.Groups[1].Value, match => Linear(match.Groups[2].Value));
    }

    private static double[] Linear(string hex) => [.. Enumerable.Range(0, 3).Select(channel =>
    {
        var value = int.Parse(hex.AsSpan(2 * channel, 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture) / 255.0;
        return value <= 0.04045 ? value / 12.92 : Pow((value + 0.055) / 1.055, 2.4);
    })];

    private static double[] Seen(double[] colour, double[] matrix) =>
        [.. Times(matrix, colour).Select(channel => Clamp(channel, 0, 1))];

    private static double Contrast(double[] one, double[] other)
    {
        var (a, b) = (Luminance(one) + 0.05, Luminance(other) + 0.05);
        return Max(a, b) / Min(a, b);
    }

    private static double Luminance(double[] rgb) => (0.2126 * rgb[0]) + (0.7152 * rgb[1]) + (0.0722 * rgb[2]);

    private static double Distance(double[] one, double[] other) => Sqrt(Lab(one).Zip(Lab(other), (a, b) => (a - b) * (a - b)).Sum());

    private static double[] Lab(double[] rgb) => Times(
        [0.2104542553, 0.7936177850, -0.0040720468, 1.9779984951, -2.4285922050, 0.4505937099, 0.0259040371, 0.7827717662, -0.8086757660],
        [.. Times([0.4122214708, 0.5363325363, 0.0514459929, 0.2119034982, 0.6806995451, 0.1073969566, 0.0883024619, 0.2817188376, 0.6299787005], rgb).Select(Cbrt)]);

    private static double[] Times(double[] matrix, double[] vector) =>
        [.. Enumerable.Range(0, 3).Select(row => Enumerable.Range(0, 3).Sum(column => matrix[(3 * row) + column] * vector[column]))];

    [GeneratedRegex(@"--(card|series-\w+): #([0-9a-f]{6});")]
    private static partial Regex Variable();
}
