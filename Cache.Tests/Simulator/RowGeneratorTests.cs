using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Cache.Producer.Simulator;
using CsCheck;

namespace Cache.Tests.Simulator;

public sealed class RowGeneratorTests
{
    private static readonly DateTimeOffset Start = new(2025, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private static readonly Gen<SimulatorOptions> AnyOptions =
        from shares in Gen.Double[0, 0.3].Array[3]
        from outOfOrder in Gen.Double[0, 1]
        from rate in Gen.Int[0, 4].Select(i => new[] { 0, 0.5, 20, 333.3, 10_000 }[i])
        from window in Gen.Int[1, 3600]
        from sessions in Gen.Bool
        from plain in Gen.Bool
        select new SimulatorOptions
        {
            Count = 300,
            Rate = rate,
            WindowSeconds = window,
            Sessions = sessions,
            EventTypes = plain ? ["page_view", "click"] : ["größe", "日本", "a\"b\\c", "a.b c"],
            LateShare = shares[0],
            RepeatShare = shares[1],
            MalformedShare = shares[2],
            OutOfOrderShare = outOfOrder,
        };

    private static readonly Gen<int> AnySeed = Gen.Int[0, int.MaxValue];

    [Fact]
    public void Rows_WithTheSameSeed_AreTheSameByteForByte() =>
        Gen.Select(AnyOptions, AnySeed).Sample(
            (options, seed) => Assert.Equal(Digest(Rows(options, seed)), Digest(Rows(options, seed))), iter: 50);

    [Fact]
    public void Rows_EnumeratedTwice_StartOver()
    {
        var generator = new RowGenerator(new SimulatorOptions { Count = 200, Sessions = true }, 7, Start);
        Assert.Equal(Digest(generator.Rows()), Digest(generator.Rows()));
    }

    [Fact]
    public void Rows_WithAnotherSeed_AreOthers() =>
        Assert.NotEqual(Digest(Rows(new() { Count = 100 }, 7)), Digest(Rows(new() { Count = 100 }, 8)));

    [Fact]
    public void Rows_OfSeedSeven_StayTheSameAcrossVersions()
    {
        var options = new SimulatorOptions
        {
            Count = 2_000,
            Sessions = true,
            LateShare = 0.1,
            RepeatShare = 0.1,
            OutOfOrderShare = 0.1,
            MalformedShare = 0.1,
        };
        Assert.Equal("47adbebc76577e78", Digest(Rows(options, 7)));
    }

    [Fact]
    public void Rows_AreAsManyAsTheCount_AndEndlessWithoutOne()
    {
        Assert.Equal(17, Rows(new() { Count = 17, OutOfOrderShare = 0.5 }, 7).Count());
        Assert.Equal(50_000, Rows(new(), 7).Take(50_000).Count());
    }

    [Fact]
    public void Rows_HaveBothTypesFromTheStart()
    {
        Assert.Equal(
            [RowGenerator.EventTopic, RowGenerator.PerformanceTopic, RowGenerator.EventTopic, RowGenerator.PerformanceTopic],
            Rows(new() { Count = 4 }, 7).Select(row => row.Topic));
        Assert.Equal(200, Rows(new() { Count = 1_000, Sessions = true }, 7).Count(row => row.Topic == RowGenerator.SessionTopic));
    }

    [Fact]
    public void Rows_HaveAboutTheSharesAskedFor()
    {
        var options = new SimulatorOptions
        {
            Count = 50_000,
            LateShare = 0.2,
            RepeatShare = 0.1,
            OutOfOrderShare = 0.15,
            MalformedShare = 0.05,
        };
        var rows = Rows(options, 7).Select(row => row.Traits).ToArray();

        double Share(RowTraits trait) => rows.Count(traits => traits.HasFlag(trait)) / (double)rows.Length;
        Assert.Equal(0.2, Share(RowTraits.Late), 0.01);
        Assert.Equal(0.1, Share(RowTraits.Repeated), 0.01);
        Assert.Equal(0.15, Share(RowTraits.OutOfOrder), 0.01);
        Assert.Equal(0.05, Share(RowTraits.Malformed), 0.01);
    }

    [Fact]
    public void Rows_WithoutShares_AreOrdinary() =>
        Assert.All(Rows(new() { Count = 1_000, Sessions = true }, 7), row => Assert.Equal(RowTraits.None, row.Traits));

    [Fact]
    public void Rows_AreValid_ExactlyWhenTheyAreNotMalformed() =>
        Gen.Select(AnyOptions, AnySeed).Sample(
            (options, seed) =>
            {
                foreach (var row in Rows(options, seed))
                {
                    var rejection = Rejection(row);
                    var malformed = row.Traits.HasFlag(RowTraits.Malformed);
                    Assert.True(malformed == rejection is not null, $"{Shown(row)}: {rejection ?? "valid"}");
                }
            },
            iter: 50);

    [Fact]
    public void MalformedRows_BreakEveryRule()
    {
        var reasons = Rows(new() { Count = 3_000, MalformedShare = 1 }, 7).Select(Rejection).ToHashSet();
        Assert.Equal(
            ["dimension characters", "dimension empty", "dimension length", "dimension type", "future", "measure range",
                "measure type", "no dimension", "no window_start", "not an object", "not json", "not utf-8", "size",
                "window_start"],
            reasons.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void ValidRows_AreKeyedByTheirDimension() =>
        Gen.Select(AnyOptions, AnySeed).Sample(
            (options, seed) => Assert.All(Valid(Rows(options, seed)), row => Assert.Equal(row.Dimension, row.Key)), iter: 20);

    [Fact]
    public void Totals_NeverShrinkWithinAWindow_AlsoWhenRowsAreLate() =>
        Gen.Select(AnyOptions, AnySeed).Sample(
            (options, seed) =>
            {
                // Repeated and swapped rows carry earlier totals, so they are left out here.
                var ordered = new SimulatorOptions
                {
                    Count = options.Count,
                    Rate = options.Rate,
                    WindowSeconds = options.WindowSeconds,
                    LateShare = options.LateShare,
                };
                var last = new Dictionary<(long, string), (double Count, double Users)>();
                foreach (var row in Valid(Rows(ordered, seed)).Where(row => row.Topic == RowGenerator.EventTopic))
                {
                    var before = last.GetValueOrDefault((row.Window, row.Dimension));
                    Assert.True(row.First > before.Count && row.Second >= before.Users);
                    Assert.True(row.Second >= 1 && row.Second <= row.First);
                    last[(row.Window, row.Dimension)] = (row.First, row.Second);
                }
            },
            iter: 50);

    [Fact]
    public void LoadTimes_AverageIsAtMostTheSlowest() =>
        Assert.All(
            Valid(Rows(new() { Count = 5_000 }, 7)).Where(row => row.Topic == RowGenerator.PerformanceTopic),
            row => Assert.True(row.First <= row.Second));

    [Fact]
    public void Windows_FollowTheRate_AndAreFlooredToTheirLength()
    {
        var windows = Valid(Rows(new() { Count = 1_000, Rate = 10, WindowSeconds = 5 }, 7)).Select(row => row.Window).ToArray();
        for (var i = 0; i < windows.Length; i++)
        {
            Assert.Equal(Start.ToUnixTimeMilliseconds() + (i / 50 * 5_000), windows[i]);
        }
    }

    [Fact]
    public void LateRows_GoToOneOfTheTenWindowsBefore()
    {
        var rows = Valid(Rows(new() { Count = 10_000, Rate = 10, LateShare = 0.3 }, 7)).ToArray();
        for (var i = 0; i < rows.Length; i++)
        {
            var back = (Start.ToUnixTimeMilliseconds() + (i / 50 * 5_000) - rows[i].Window) / 5_000;
            Assert.True(rows[i].Traits.HasFlag(RowTraits.Late) ? back is >= 1 and <= 10 : back == 0);
        }
    }

    [Fact]
    public void RepeatedRows_AreTheLastGoodRowOnceMore()
    {
        byte[]? good = null;
        foreach (var row in Rows(new() { Count = 5_000, RepeatShare = 0.3, MalformedShare = 0.2, LateShare = 0.1 }, 7))
        {
            if (row.Traits.HasFlag(RowTraits.Repeated))
            {
                Assert.Equal(good, row.Value);
            }

            good = row.Traits.HasFlag(RowTraits.Malformed) ? good : row.Value;
        }
    }

    [Theory]
    [InlineData(0.1)]
    [InlineData(0.5)]
    [InlineData(1)]
    public void OutOfOrderRows_AreTheSameRows_AtMostTenPositionsApart(double share)
    {
        var ordered = Rows(new() { Count = 5_000 }, 7).Select(Shown).ToArray();
        var swapped = Rows(new() { Count = 5_000, OutOfOrderShare = share }, 7).Select(Shown).ToArray();

        var places = ordered.Select((row, i) => (row, i)).ToLookup(item => item.row, item => item.i);
        Assert.All(swapped.Select((row, i) => (row, i)), item =>
            Assert.Contains(places[item.row], place => Math.Abs(place - item.i) <= 10));
        Assert.Equal(ordered.Order(StringComparer.Ordinal), swapped.Order(StringComparer.Ordinal));
        Assert.NotEqual(ordered, swapped);
    }

    [Fact]
    public void Times_ComeInAllFourFormats()
    {
        var shapes = Rows(new() { Count = 1_000, Rate = 0 }, 7)
            .Select(row => JsonDocument.Parse(row.Value).RootElement.GetProperty("window_start"))
            .Select(time => time.ValueKind == JsonValueKind.Number ? "epoch"
                : time.GetString() is var text && text![10] == 'T' ? "iso"
                : text.EndsWith('Z') ? "flink" : "no zone")
            .CountBy(shape => shape);
        Assert.All(shapes, shape => Assert.InRange(shape.Value, 200, 300));
        Assert.Equal(4, shapes.Count());
    }

    [Fact]
    public void WindowEnd_IsMostlyThere()
    {
        var ends = Rows(new() { Count = 1_000 }, 7).Count(row => Shown(row).Contains("window_end", StringComparison.Ordinal));
        Assert.InRange(ends, 850, 950);
    }

    [Fact]
    public void Sessions_GrowWhileTheyLast()
    {
        var last = new Dictionary<string, (long Duration, int Pages)>();
        var rows = Rows(new() { Count = 20_000, Sessions = true }, 7);
        foreach (var row in rows.Where(row => row.Topic == RowGenerator.SessionTopic))
        {
            var json = JsonDocument.Parse(row.Value).RootElement;
            var (start, end) = (Time(json.GetProperty("start_time")), Time(json.GetProperty("end_time")));
            var (duration, pages) = (json.GetProperty("duration").GetInt64(), json.GetProperty("page_count").GetInt32());
            var before = last.GetValueOrDefault(row.Key, (Duration: 0, Pages: 0));

            Assert.Equal(row.Key, json.GetProperty("session_id").GetString());
            Assert.Equal(end - start, duration);
            Assert.True(duration >= before.Duration && pages == before.Pages + 1);
            last[row.Key] = (duration, pages);
        }

        Assert.Contains(last.Values, session => session.Pages > 3);
    }

    internal static IEnumerable<Row> Rows(SimulatorOptions options, int seed) => new RowGenerator(options, seed, Start).Rows();

    private static string Shown(Row row) =>
        $"{row.Topic} {row.Key} {Encoding.UTF8.GetString(row.Value.AsSpan(0, Math.Min(300, row.Value.Length)))}";

    private static string Digest(IEnumerable<Row> rows)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var row in rows)
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{row.Topic}\n{row.Key}\n{row.Value.Length}\n"));
            hash.AppendData(row.Value);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
    }

    private static IEnumerable<WindowRow> Valid(IEnumerable<Row> rows)
    {
        foreach (var row in rows.Where(row => (row.Traits & RowTraits.Malformed) == 0 && row.Topic != RowGenerator.SessionTopic))
        {
            var json = JsonDocument.Parse(row.Value).RootElement;
            var (dimension, first, second) = Fields(row.Topic);
            yield return new(
                row.Topic,
                row.Key,
                row.Traits,
                Time(json.GetProperty("window_start")),
                json.GetProperty(dimension).GetString()!,
                json.GetProperty(first).GetDouble(),
                json.GetProperty(second).GetDouble());
        }
    }

    private sealed record WindowRow(
        string Topic, string Key, RowTraits Traits, long Window, string Dimension, double First, double Second);

    private static (string Dimension, string First, string Second) Fields(string topic) => topic == RowGenerator.EventTopic
        ? ("event_type", "event_count", "user_count")
        : ("device_category", "avg_load_time", "p95_load_time");

    // Restates the rules of the format in plain code: why a row must be rejected, or null.
    private static string? Rejection(Row row)
    {
        if (row.Value.Length > 1 << 20)
        {
            return "size";
        }

        JsonElement json;
        try
        {
            json = JsonDocument.Parse(row.Value).RootElement;
        }
        catch (JsonException)
        {
            return "not json";
        }

        if (json.ValueKind != JsonValueKind.Object)
        {
            return "not an object";
        }

        if (row.Topic == RowGenerator.SessionTopic)
        {
            return null;
        }

        try
        {
            if (!json.TryGetProperty("window_start", out var start))
            {
                return "no window_start";
            }

            if (Time(start) > new DateTimeOffset(2100, 1, 1, 0, 0, 0, TimeSpan.Zero).ToUnixTimeMilliseconds())
            {
                return "future";
            }

            if (json.TryGetProperty("window_end", out var end) && Time(end) <= Time(start))
            {
                return "window_end";
            }
        }
        catch (FormatException)
        {
            return "window_start";
        }

        var (dimensionName, first, second) = Fields(row.Topic);
        if (!json.TryGetProperty(dimensionName, out var dimension))
        {
            return "no dimension";
        }

        if (dimension.ValueKind != JsonValueKind.String)
        {
            return "dimension type";
        }

        try
        {
            var name = dimension.GetString()!;
            var wrong = name.Length == 0 ? "dimension empty"
                : name.Any(char.IsControl) ? "dimension characters"
                : Encoding.UTF8.GetByteCount(name) > 128 ? "dimension length"
                : null;
            if (wrong is not null)
            {
                return wrong;
            }
        }
        catch (InvalidOperationException)
        {
            return "not utf-8";
        }

        foreach (var name in new[] { first, second })
        {
            if (json.TryGetProperty(name, out var measure))
            {
                if (measure.ValueKind != JsonValueKind.Number)
                {
                    return "measure type";
                }

                var inRange = row.Topic == RowGenerator.EventTopic
                    ? measure.TryGetInt64(out var count) && count >= 0
                    : measure.GetDouble() is >= 0 and < double.PositiveInfinity;
                if (!inRange)
                {
                    return "measure range";
                }
            }
        }

        return null;
    }

    private static long Time(JsonElement time)
    {
        if (time.ValueKind == JsonValueKind.Number)
        {
            return time.GetInt64();
        }

        var text = time.ValueKind == JsonValueKind.String ? time.GetString()! : throw new FormatException();
        // .NET parses at most seven digits of a fraction; the format allows nine.
        text = System.Text.RegularExpressions.Regex.Replace(text, @"(\.\d{7})\d+", "$1");
        return DateTimeOffset.Parse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal).ToUnixTimeMilliseconds();
    }
}
