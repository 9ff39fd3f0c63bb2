using System.Buffers;
using System.Globalization;
using System.Numerics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Cache.Metrics;
using Cache.Service.Http;
using Cache.Service.Http.Query;
using CsCheck;
using StackExchange.Redis;

namespace Cache.Tests.Http.Query;

/// <summary>Roll-ups equal those of a model that has all values at hand.</summary>
public sealed class SummaryTests
{
    private const long Minute = 60_000;
    private const long Start = 1_710_000_000_000;

    private static readonly string[] Names = ["a", "b", "with.dot", "é", "a, b"];

    private static readonly Gen<Case> AnyCase =
        from seed in Gen.Int[0, 1000]
        let type = DrawnTypes.Draw(new Random(seed), 0)
        from starts in Gen.Int[0, 12].HashSet[0, 8]
        from values in Gen.Select(Gen.Int[0, Names.Length - 1], Gen.Int[0, type.Measures.Count - 1], Gen.Int[-8, 40]).Array[0, 12].Array[starts.Count]
        from step in Gen.OneOf<long?>(null, Minute, 5 * Minute)
        from top in Gen.OneOf<int?>(null, 1, 3)
        from order in Gen.Int[-1, type.Measures.Count - 1]
        from fields in Gen.OneOf<string?>(null, "a", @"b,a\, b")
        select new Case(type, [.. starts.OrderDescending().Zip(values, (start, of) => (Start + (start * Minute), Fields(type, of)))], new(step, top, order >= 0 ? order : top is null ? null : 0), fields);

    [Fact]
    public void Summary_EqualsTheModels() => AnyCase.Sample(
        asked => Assert.True(JsonNode.DeepEquals(Model(asked), Actual(asked)), $"{Actual(asked)}\nshould be\n{Model(asked)}"), iter: 3000, print: asked => $"{asked.Query} {asked.Fields}");

    [Fact]
    public void Counts_AddUpExactly_BeyondInt64()
    {
        var asked = new Case(MetricType.Event, [(Start, [new("a.count", long.MaxValue), new("b.count", long.MaxValue)]), (Start - Minute, [new("a.count", long.MaxValue)])], new(null, null, null), null);

        Assert.Equal((3 * (BigInteger)long.MaxValue).ToString(CultureInfo.InvariantCulture), Actual(asked)["total"]!["count"]!.ToJsonString());
    }

    [Fact]
    public void Cents_AddUpToCents()
    {
        var type = new MetricType { Name = "t", Key = "t", Topics = ["t"], DimensionFields = ["d"], Measures = [new("m", "m", MeasureKind.Number, Rollup.Sum)] };
        var asked = new Case(type, [.. Enumerable.Range(0, 1000).Select(window => (Start - (window * Minute), (HashEntry[])[new("a.m", "0.1")]))], new(null, null, null), null);

        Assert.Equal("100", Actual(asked)["total"]!["m"]!.ToJsonString());
    }

    [Fact]
    public void SumBeyondADouble_IsLeftOut()
    {
        var type = new MetricType { Name = "t", Key = "t", Topics = ["t"], DimensionFields = ["d"], Measures = [new("m", "m", MeasureKind.Number, Rollup.Sum)] };
        var asked = new Case(type, [(Start, [new("a.m", "1.7E+308"), new("b.m", "1.7E+308")])], new(null, null, null), null);

        Assert.Equal("{}", Actual(asked)["total"]!.ToJsonString());
        Assert.Equal("""[{"dimension":"a","measures":{"m":1.7E+308}},{"dimension":"b","measures":{"m":1.7E+308}}]""", Actual(asked)["dimensions"]!.ToJsonString());
    }

    [Fact]
    public void FieldsThatCacheDidNotWrite_AreLeftOut()
    {
        var asked = new Case(MetricType.Event, [(Start, [new("a.count", "1"), new("a.other", "5"), new("count", "7"), new("b.count", "x"), new("b.users", "")])], new(null, null, null), null);

        Assert.Equal("""{"count":1}""", Actual(asked)["total"]!.ToJsonString());
    }

    private static HashEntry[] Fields(MetricType type, (int Name, int Measure, int Value)[] values) =>
    [
        .. values.DistinctBy(value => (value.Name, value.Measure)).Select(value => new HashEntry(
            $"{Names[value.Name]}.{type.Measures[value.Measure].Name}",
            type.Measures[value.Measure].Kind == MeasureKind.Count ? Math.Abs(value.Value) : (value.Value / 4.0).ToString(CultureInfo.InvariantCulture))),
    ];

    private static JsonNode Actual(Case asked)
    {
        var summary = new Summary(asked.Type, asked.Query, DimensionFilter.Of(asked.Fields));
        foreach (var (start, fields) in asked.Windows)
        {
            summary.Add(new(start, fields));
        }

        var body = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(body))
        {
            summary.Write(json);
        }

        return JsonNode.Parse(body.WrittenSpan)!;
    }

    private static JsonObject Model(Case asked)
    {
        var selected = asked.Fields switch { null => Names, "a" => ["a"], _ => ["b", "a, b"] };
        var values = asked.Windows.SelectMany(window => window.Fields.Select(field => field.Name.ToString()).Zip(window.Fields, (name, field) => (
            window.Start, Dimension: name[..name.LastIndexOf('.')], Measure: name[(name.LastIndexOf('.') + 1)..], Value: double.Parse(field.Value.ToString(), CultureInfo.InvariantCulture))))
            .Where(value => selected.Contains(value.Dimension)).ToList();
        var listed = values.Select(value => value.Dimension).Distinct().Order(StringComparer.Ordinal).ToList();
        if (asked.Query.By is { } by)
        {
            listed = [.. listed.OrderByDescending(dimension => Rolled(asked.Type.Measures[by], values.Where(value => value.Dimension == dimension)) ?? double.NaN)];
        }

        listed = [.. listed.Take(asked.Query.Top ?? int.MaxValue)];
        var model = new JsonObject
        {
            ["type"] = asked.Type.Name,
            ["rollups"] = new JsonObject(asked.Type.Measures.Select(measure => KeyValuePair.Create<string, JsonNode?>(measure.Name, Enum.GetName(measure.Rollup)!.ToLowerInvariant()))),
            ["windows"] = asked.Windows.Length,
        };
        if (asked.Windows is [var newest, ..] and [.., var oldest])
        {
            (model["first"], model["last"]) = (oldest.Start, newest.Start);
        }

        AddRange(model, _ => true);
        if (asked.Query.StepMs is { } step)
        {
            model["step"] = step;
            model["series"] = new JsonArray([.. asked.Windows.GroupBy(window => window.Start / step * step).Select(of =>
            {
                var range = new JsonObject { ["start"] = of.Key, ["windows"] = of.Count() };
                AddRange(range, start => start / step * step == of.Key);
                return range;
            })]);
        }

        return model;

        void AddRange(JsonObject range, Func<long, bool> isIn)
        {
            var of = values.Where(value => isIn(value.Start)).ToList();
            range["total"] = Measures(asked.Type.Measures.Where(measure => measure.Rollup != Rollup.Last), of);
            range["dimensions"] = new JsonArray([.. listed.Where(dimension => of.Exists(value => value.Dimension == dimension)).Select(dimension =>
                new JsonObject { ["dimension"] = dimension, ["measures"] = Measures(asked.Type.Measures, [.. of.Where(value => value.Dimension == dimension)]) })]);
        }

        static JsonObject Measures(IEnumerable<Measure> measures, List<(long, string, string Measure, double)> of) => new(measures
            .Select(measure => (measure.Name, Value: Rolled(measure, of!))).Where(measure => measure.Value is not null)
            .Select(measure => KeyValuePair.Create<string, JsonNode?>(measure.Name, JsonNode.Parse(measure.Value!.Value.ToString("R", CultureInfo.InvariantCulture)))));
    }

    private static double? Rolled(Measure measure, IEnumerable<(long Start, string Dimension, string Measure, double Value)> all)
    {
        // Quarters, of which double holds every sum and mean that occurs here exactly enough to compare.
        var of = all.Where(value => value.Measure == measure.Name).ToList();
        return of.Count == 0 ? null : measure.Rollup switch
        {
            Rollup.Sum => of.Sum(value => value.Value),
            Rollup.Max => of.Max(value => value.Value),
            Rollup.Min => of.Min(value => value.Value),
            Rollup.Mean => of.Sum(value => value.Value) / of.Count,
            _ => of.MaxBy(value => value.Start).Value,
        };
    }

    private sealed record Case(MetricType Type, (long Start, HashEntry[] Fields)[] Windows, SummaryQuery Query, string? Fields);
}
