using System.Globalization;
using System.Text.RegularExpressions;

namespace Cache.Tests.Simulation;

/// <summary>
/// The pipeline under thousands of schedules. Its seed alone decides a schedule's rows, faults, and who takes the next step.
/// After each step the model checks every promise (docs/testing.md).
/// </summary>
public sealed partial class SimulationTests(ITestOutputHelper output)
{
    private const int Usual = 10_000;
    private static readonly int Schedules = Setting("CACHE_SIMULATION_SCHEDULES") ?? Usual;
    private static readonly int FirstSeed = Setting("CACHE_SIMULATION_FIRST_SEED") ?? 1;

    [Fact]
    [Trait("Category", "Long")]
    public async Task EverySchedule_KeepsThePromises()
    {
        if (Setting("CACHE_SIMULATION_SEED") is { } only)
        {
            AssertKept(only);
            return;
        }

        var failed = int.MaxValue;
        var run = 0;
        var started = TimeProvider.System.GetTimestamp();

        // On dedicated threads, and on all processors only in the long form: other tests wait for the thread pool.
        var threads = Schedules > Usual ? Environment.ProcessorCount : Math.Max(1, Environment.ProcessorCount / 2);
        await Task.WhenAll(Enumerable.Range(0, threads).Select(_ => Task.Factory.StartNew(
            () =>
            {
                for (var next = Interlocked.Increment(ref run); next <= Schedules && failed == int.MaxValue; next = Interlocked.Increment(ref run))
                {
                    if (Schedule.Run(FirstSeed + next - 1) is not null)
                    {
                        InterlockedMin(ref failed, FirstSeed + next - 1);
                    }
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        run = Math.Min(run, Schedules);
        var elapsed = TimeProvider.System.GetElapsedTime(started);
        output.WriteLine($"simulation: {run} schedules, {run / elapsed.TotalSeconds:0} a second on {threads} threads");
        if (failed < int.MaxValue)
        {
            AssertKept(failed);
            Assert.Fail($"Seed {failed} broke a promise, and kept it when it was run again: something in it does not depend on the seed alone.");
        }
    }

    /// <summary>
    /// As many as one consumer group may come to have. The faults are the same, and hit one of them or all. Odd seeds take rows one by one,
    /// even ones in batches.
    /// </summary>
    /// <param name="seed">The schedule.</param>
    [Theory]
    [Trait("Category", "Long")]
    [InlineData(1)]
    [InlineData(2)]
    public void Fleet_Of64Processes_And1000Partitions_KeepsThePromises(int seed)
    {
        var started = TimeProvider.System.GetTimestamp();
        var (broken, steps, rows) = Schedule.RunFleet(seed, processes: 64, partitions: 1000);
        output.WriteLine($"seed {seed}: {steps} steps and {rows} rows in {TimeProvider.System.GetElapsedTime(started).TotalSeconds:0.0} s");
        Assert.Null(broken);
    }

    [Fact]
    public void Seed_DecidesEverything()
    {
        for (var seed = 1; seed <= 200; seed++)
        {
            Assert.Equal(Trace(seed), Trace(seed));
        }
    }

    /// <summary>A planted bug that goes undetected would show that the model is blind.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="seed">The schedule that catches it.</param>
    /// <param name="promise">The promise that it breaks there.</param>
    [Theory]
    [MemberData(nameof(Bugs))]
    public void PlantedBug_IsCaughtByItsSeed(string name, int seed, string promise)
    {
        var bug = PlantedBug.All.Single(bug => bug.ToString() == name);
        if (!IsCaughtBy(seed))
        {
            // A change to the pipeline moves the seeds.
            var other = Enumerable.Range(1, 5000).FirstOrDefault(IsCaughtBy);
            Assert.Fail(other == 0
                ? $"None of 5000 schedules catches {name} by {promise}."
                : $"Seed {seed} no longer catches {name} by {promise}, but seed {other} does: record that in {nameof(Bugs)} and in docs/testing.md.");
        }

        // The schedule catches the bug, and nothing else.
        Assert.Null(Schedule.Run(seed));
        output.WriteLine($"{name}: caught by seed {seed}. {Schedule.Run(seed, bug)}");

        bool IsCaughtBy(int seed) => Schedule.Run(seed, bug)?.StartsWith(promise, StringComparison.Ordinal) == true;
    }

    [Fact]
    public void EveryPlantedBug_HasItsSeed_AndTheDocsListIt()
    {
        Assert.Equal(PlantedBug.All.Select(bug => bug.ToString()), Bugs.Select(bug => bug.Data.Item1));
        var docs = File.ReadAllText(Repository.File("docs", "testing.md"));
        Assert.All(Bugs, bug => Assert.Contains($" (`{bug.Data.Item1}`) | {bug.Data.Item2} | {bug.Data.Item3} |", docs, StringComparison.Ordinal));
    }

    /// <summary>Per bug and promise that it breaks, the first schedule that catches it.</summary>
    public static TheoryData<string, int, string> Bugs => new()
    {
        { "CommitBeforeWrite", 6, "I3" },
        { "CommitThePosition", 2, "I3" },
        { "DropOnRetry", 157, "I3" },
        { "ReorderOnRetry", 380, "I4" },
        { "WriteAfterLost", 144, "I3" },
        { "ForgetRevokeFlush", 213, "I4" },
        { "LoseTheLastBatchOnShutdown", 129, "I3" },
        { "SkipOneOnResume", 21, "I3" },
        { "WrongRewind", 3, "I3" },
        { "TrimTheWrongWindow", 1, "I1" },
        { "RetryWhatNeverPasses", 7, "I5" },
        { "TakeADefectForAnOutage", 1, "I5" },
        { "ForgetTheRestOfABatch", 66, "I3" },
    };

    private static void AssertKept(int seed)
    {
        var trace = new List<string>();
        if (Schedule.Run(seed, trace: trace) is { } broken)
        {
            var log = Path.Combine(Path.GetTempPath(), $"cache-simulation-{seed}.log");
            File.WriteAllLines(log, trace);
            Assert.Fail($"""
                Seed {seed} breaks a promise. {broken}
                Again:  CACHE_SIMULATION_SEED={seed} dotnet test Cache.Tests --filter "FullyQualifiedName~EverySchedule_KeepsThePromises"
                Its {trace.Count} steps are in {log}; the last of them:
                {string.Join(Environment.NewLine, trace.TakeLast(60))}
                """);
        }
    }

    private static string Trace(int seed)
    {
        var trace = new List<string>();
        Schedule.Run(seed, trace: trace);
        return EpochId().Replace(string.Join('\n', trace), "id");
    }

    private static int? Setting(string name) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), CultureInfo.InvariantCulture, out var value) ? value : null;

    private static void InterlockedMin(ref int target, int value)
    {
        for (var seen = target; value < seen; seen = target)
        {
            Interlocked.CompareExchange(ref target, value, seen);
        }
    }

    [GeneratedRegex("[0-9a-f]{32}")]
    private static partial Regex EpochId();
}
