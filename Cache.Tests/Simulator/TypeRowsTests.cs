using System.Globalization;
using System.Text;
using System.Text.Json;
using Cache.Metrics;
using Cache.Producer.Simulator;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Options;
using CsCheck;
using Microsoft.Extensions.Time.Testing;
using Row = Cache.Producer.Simulator.Row;

namespace Cache.Tests.Simulator;

/// <summary>The simulator's rows of types other than the default ones.</summary>
public sealed class TypeRowsTests
{
    private static readonly DateTimeOffset Start = new(2025, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private static readonly MetricType Revenue = new()
    {
        Name = "revenue",
        Key = "revenue",
        Topics = [@"^shop\..*\.revenue$", "shop.revenue"],
        TimeField = "WINDOW_START",
        EndField = "WINDOW_END",
        DimensionFields = ["country", "plan"],
        WindowSeconds = 60,
        Measures =
        [
            new("total", "AMOUNT", MeasureKind.Number, Rollup.Sum, "EUR"),
            new("orders", "orders", MeasureKind.Count, Rollup.Sum),
            new("buyers", "buyers", MeasureKind.Count, Rollup.Max),
            new("margin", "margin", MeasureKind.Number, Rollup.Mean, "EUR", IsSigned: true),
            new("conversion", "conversion", MeasureKind.Number, Rollup.Mean, "%"),
            new("refunds", "refunds", MeasureKind.Number, Rollup.Sum, "EUR", IsSigned: true),
        ],
    };

    /// <summary>Field names that a row has to escape, that hold a separator, and that are too long for a value.</summary>
    private static readonly string[] Fields =
        ["country", "plan", "Status", "service", "event_type", "device_category", "größe", "a\"b\\c", "a|b", "x.y z", "e", "1", new('f', 300)];

    private static readonly Gen<Measure> AnyMeasure =
        from kind in Gen.Enum<MeasureKind>()
        from rollup in Gen.Enum<Rollup>()
        from unit in Gen.OneOf("%", "ms", null!)
        from signed in Gen.Bool
        select new Measure("", "", kind, rollup, unit, signed && kind == MeasureKind.Number);

    private static readonly Gen<MetricType> AnyType =
        from fields in Gen.Shuffle(Fields, 1, MetricType.MaxDimensionFields)
        from measures in AnyMeasure.Array[1, MetricType.MaxMeasures]
        from separator in Gen.OneOf("|", "-", "e", "1", "::", "\"", "é")
        from unit in Gen.Enum<TimeUnit>()
        from hasLength in Gen.Bool
        from seconds in Gen.Int[1, 86_400]
        from names in Gen.OneOf(("window_start", "window_end"), ("WINDOW_START", "WINDOW_END"), ("seit \"", "bis"))
        select new MetricType
        {
            Name = "",
            Key = "",
            Topics = [],
            TimeField = names.Item1,
            EndField = names.Item2,
            TimeUnit = unit,
            DimensionFields = fields,
            Separator = separator,
            WindowSeconds = hasLength ? seconds : null,
            Measures = [.. measures.Select((measure, i) => measure with { Name = $"m{i}", Field = i % 2 == 0 ? $"m{i}" : $"M {i}" })],
        };

    private static readonly Gen<SimulatorOptions> AnyOptions =
        from types in AnyType.Array[1, 3]
        from defaults in Gen.Int[0, 2]
        from shares in Gen.Double[0, 0.3].Array[3]
        from outOfOrder in Gen.Double[0, 1]
        from rate in Gen.OneOf(0, 0.5, 20, 10_000)
        from window in Gen.Int[1, 3600]
        from sessions in Gen.Bool
        select new SimulatorOptions
        {
            Count = 300,
            Rate = rate,
            WindowSeconds = window,
            Sessions = sessions,
            LateShare = shares[0],
            RepeatShare = shares[1],
            MalformedShare = shares[2],
            OutOfOrderShare = outOfOrder,
            Types = [.. types.Select(Named), .. MetricType.Defaults.Take(defaults)],
        };

    private static readonly Gen<int> AnySeed = Gen.Int[0, int.MaxValue];

    [Fact]
    public void Rows_WithTheSameSeed_AreTheSameByteForByte() =>
        Gen.Select(AnyOptions, AnySeed).Sample(
            (options, seed) =>
            {
                var rows = Rows(options, seed).ToArray();
                Assert.Equal(300, rows.Length);
                foreach (var (first, second) in rows.Zip(Rows(options, seed)))
                {
                    Assert.Equal((first.Topic, first.Key, first.Traits), (second.Topic, second.Key, second.Traits));
                    Assert.True(first.Value.AsSpan().SequenceEqual(second.Value));
                }
            },
            iter: 50);

    [Fact]
    public void Rows_AreDecodedByTheService_ExactlyWhenTheyAreNotMalformed() =>
        Gen.Select(AnyOptions, AnySeed).Sample(
            (options, seed) =>
            {
                var decode = Decoder(options);
                foreach (var row in Rows(options, seed))
                {
                    var decoded = decode(row);
                    if (row.Traits.HasFlag(RowTraits.Malformed))
                    {
                        Assert.True(decoded.Kind == RowKind.Rejected, $"{Shown(row)}: {decoded.Kind}");
                    }
                    else if (row.Topic == RowGenerator.SessionTopic)
                    {
                        Assert.Equal(RowKind.Session, decoded.Kind);
                    }
                    else
                    {
                        Assert.True(decoded.Kind == RowKind.Window, $"{Shown(row)}: {decoded.Kind} {decoded.Reason}");
                        var type = decoded.Dimension!.Type;
                        Assert.Equal(row.Topic, type.Topics[^1]);
                        Assert.Equal(row.Key, decoded.Dimension.Name);
                        Assert.Equal(0, decoded.WindowStart % ((type.WindowSeconds ?? options.WindowSeconds) * 1000L));
                        Assert.All(Enumerable.Range(0, type.Measures.Count), number => Assert.True(decoded.Measures.Has(number)));
                    }
                }
            },
            iter: 100);

    [Fact]
    public void MalformedRows_BreakTheRulesOfTheirType()
    {
        var options = new SimulatorOptions { Count = 3_000, MalformedShare = 1, Types = [Revenue] };
        var decode = Decoder(options);
        var reasons = Rows(options, 7).Select(row => decode(row).Reason).ToHashSet();

        Assert.Superset(
            new HashSet<RejectReason>
            {
                RejectReason.TooLarge, RejectReason.NotJson, RejectReason.NotAnObject, RejectReason.NoWindowStart, RejectReason.BadWindowStart,
                RejectReason.FutureWindow, RejectReason.NoDimension, RejectReason.BadDimension, RejectReason.BadMeasure, RejectReason.WrongWindowLength,
            },
            reasons);
    }

    [Fact]
    public void Types_TakeTurns_AndEveryFifthRowIsASession()
    {
        var options = new SimulatorOptions { Count = 400, Types = [MetricType.Performance, Revenue, MetricType.Event] };
        var sessions = new SimulatorOptions { Count = 500, Types = options.Types, Sessions = true };

        Assert.Equal(["performance_metrics", "shop.revenue", "event_metrics", "performance_metrics"], Rows(options, 7).Take(4).Select(row => row.Topic));
        Assert.Equal(["performance_metrics", "shop.revenue", "event_metrics"], options.Topics);
        Assert.Equal(["performance_metrics", "shop.revenue", "event_metrics", "session_metrics"], sessions.Topics);
        Assert.Equal(100, Rows(sessions, 7).Count(row => row.Topic == RowGenerator.SessionTopic));
        Assert.All(options.Topics, topic => Assert.InRange(Rows(sessions, 7).Count(row => row.Topic == topic), 133, 134));
    }

    [Fact]
    public void RowsOfTheDefaultTypes_AreOfTheirKind_AmongOthersToo()
    {
        var options = new SimulatorOptions { Count = 300, EventTypes = ["a"], DeviceCategories = ["b"], Types = [.. MetricType.Defaults, Revenue] };
        Assert.Equal(["a", "b"], Rows(options, 7).Where(row => row.Topic != "shop.revenue").Select(row => row.Key).Distinct());
    }

    [Fact]
    public void TypeThatReplacesADefault_HasItsDimensions()
    {
        var own = new MetricType
        {
            Name = "event",
            Key = "event",
            Topics = ["us.events"],
            DimensionFields = ["event_type"],
            Measures = [new("count", "count", MeasureKind.Count, Rollup.Sum)],
        };
        var rows = Rows(new() { Count = 200, EventTypes = ["größe", "b"], Types = [own] }, 7).ToArray();

        Assert.All(rows, row => Assert.Equal("us.events", row.Topic));
        Assert.Equal(["b", "größe"], rows.Select(row => row.Key).Distinct().Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Dimensions_AreMadeUpFromTheirFields()
    {
        Assert.Equal(
            ["DE|free", "DE|pro", "FR|free", "FR|pro", "JP|free", "JP|pro", "US|free", "US|pro"],
            Rows(new() { Count = 500, Types = [Revenue] }, 7).Select(row => row.Key).Distinct().Order(StringComparer.Ordinal));

        var unknown = Named(new MetricType { Name = "", Key = "", Topics = [], DimensionFields = ["shelf"], Measures = Revenue.Measures });
        Assert.Equal(
            ["shelf-1", "shelf-2", "shelf-3"],
            Rows(new() { Count = 500, Types = [unknown] }, 7).Select(row => row.Key).Distinct().Order(StringComparer.Ordinal));
    }

    [Fact]
    public void CountsAndSums_GrowWithinAWindow_AlsoWhenRowsAreLate()
    {
        var last = new Dictionary<(long, string), long[]>();
        var options = new SimulatorOptions { Count = 5_000, LateShare = 0.2, Types = [Revenue] };
        var decode = Decoder(options);
        foreach (var row in Rows(options, 7).Select(decode))
        {
            var key = (row.WindowStart, row.Dimension!.Name);
            var before = last.GetValueOrDefault(key) ?? new long[3];
            var now = new[] { row.Measures[0], row.Measures[1], row.Measures[2] };
            Assert.True(BitConverter.Int64BitsToDouble(now[0]) > BitConverter.Int64BitsToDouble(before[0]));
            Assert.InRange(now[1] - before[1], 1, 3);
            Assert.InRange(now[2] - before[2], before[2] == 0 ? 1 : 0, 1);
            last[key] = now;
        }

        Assert.Contains(last.Values, totals => totals[1] > 10);
    }

    [Fact]
    public void Numbers_Wander_SignedOnesAroundZero_PercentagesUpToAHundred()
    {
        var options = new SimulatorOptions { Count = 5_000, Types = [Revenue] };
        var decode = Decoder(options);
        var rows = Rows(options, 7).Select(decode).ToArray();

        Assert.All([3, 5], number =>
        {
            var values = rows.Select(row => BitConverter.Int64BitsToDouble(row.Measures[number])).ToArray();
            Assert.InRange(values.Count(value => value < 0), 1000, 4000);
        });
        Assert.All(rows, row => Assert.InRange(BitConverter.Int64BitsToDouble(row.Measures[4]), 1, 100));
        Assert.True(rows.Select(row => row.Measures[4]).Distinct().Count() > 500);
    }

    [Theory]
    [InlineData(TimeUnit.Milliseconds, 1_735_689_600_000)]
    [InlineData(TimeUnit.Seconds, 1_735_689_600)]
    [InlineData(TimeUnit.Microseconds, 1_735_689_600_000_000)]
    public void Times_ThatAreNumbers_AreInTheTypesUnit(TimeUnit unit, long start)
    {
        var type = Named(new MetricType { Name = "", Key = "", Topics = [], DimensionFields = ["country"], TimeUnit = unit, Measures = Revenue.Measures });
        var times = Rows(new() { Count = 100, Types = [type] }, 7)
            .Select(row => JsonDocument.Parse(row.Value).RootElement.GetProperty("window_start"))
            .Where(time => time.ValueKind == JsonValueKind.Number).Select(time => time.GetInt64()).ToArray();

        Assert.InRange(times.Length, 10, 40);
        Assert.All(times, time => Assert.Equal(start, time));
    }

    private static MetricType Named(MetricType type, int number = 0) => new()
    {
        Name = string.Create(CultureInfo.InvariantCulture, $"type_{number}"),
        Key = string.Create(CultureInfo.InvariantCulture, $"type_{number}"),
        Topics = [$"^(a|b)\\.rows_{number}$", $"rows_{number}"],
        TimeField = type.TimeField,
        EndField = type.EndField,
        TimeUnit = type.TimeUnit,
        DimensionFields = type.DimensionFields,
        Separator = type.Separator,
        WindowSeconds = type.WindowSeconds,
        Measures = type.Measures,
    };

    private static IEnumerable<Row> Rows(SimulatorOptions options, int seed) => new RowGenerator(options, seed, Start).Rows();

    /// <summary>Decodes as a service does that has the simulator's types.</summary>
    private static Func<Row, Service.Model.Row> Decoder(SimulatorOptions options)
    {
        var decoder = new RowDecoder(
            new CacheOptions { MetricTypes = options.Types, Topics = [.. options.Types.SelectMany(type => type.Topics), CacheOptions.SessionTopic] },
            new FakeTimeProvider(Start.AddDays(1)));
        return row => decoder.Decode(row.Topic, row.Value);
    }

    private static string Shown(Row row) => $"{row.Topic} {row.Key} {Encoding.UTF8.GetString(row.Value.AsSpan(0, Math.Min(500, row.Value.Length)))}";
}
