using Cache.Tests.EndToEnd;

namespace Cache.Tests;

public sealed class RequirementTests : IDisposable
{
    // No other test uses this name, so that the variables can be changed while others run.
    private const string Name = "requirement-tests";

    private readonly Dictionary<string, string?> _before = [];

    public void Dispose()
    {
        foreach (var (variable, value) in _before)
        {
            Environment.SetEnvironmentVariable(variable, value);
        }
    }

    [Fact]
    public void Program_ThatIsInstalled_IsFoundByItsPath() => Assert.Contains(Path.DirectorySeparatorChar, Requirement.Program("dotnet", Name));

    [Fact]
    public void Program_ThatIsMissing_SkipsTheTest()
    {
        var outcome = Outcome(() => Requirement.Program("no-such-program", Name));
        Assert.True(IsSkip(outcome), $"{outcome}");
        Assert.Contains("no-such-program is not installed", outcome!.Message);
    }

    [Fact]
    public void Program_ThatIsMissing_AndRequired_FailsTheTest()
    {
        Add("CACHE_TESTS_REQUIRE");
        var outcome = Outcome(() => Requirement.Program("no-such-program", Name));
        Assert.False(IsSkip(outcome), $"{outcome}");
        Assert.Contains($"no-such-program is not installed, and CACHE_TESTS_REQUIRE names {Name}", outcome!.Message);
    }

    [Fact]
    public void Program_ThatBlindNames_CountsAsMissing_ThoughItIsInstalled()
    {
        Add("CACHE_TESTS_BLIND");
        var outcome = Outcome(() => Requirement.Program("dotnet", Name));
        Assert.True(IsSkip(outcome), $"{outcome}");
        Assert.Contains($"CACHE_TESTS_BLIND names {Name}", outcome!.Message);
        Assert.True(Requirement.IsHidden(Name.ToUpperInvariant()));
        Assert.False(Requirement.IsHidden("requirement"));
    }

    [Fact]
    public async Task Program_AskedForAfterAStackWasStarted_FailsTheTest_ThoughItIsInstalled()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        var refusal = Assert.Throws<InvalidOperationException>(() => Requirement.Program("dotnet", Name));
        Assert.Contains("before anything is started", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Program_AskedForBefore_MayBeAskedForAgain()
    {
        var path = Requirement.Program("dotnet", Name);
        Requirement.Started();
        Assert.Equal(path, Requirement.Program("dotnet", Name));
    }

    /// <summary>The exception from asking, or null. (<see cref="Record"/> rethrows a skip, which would skip this test.)</summary>
    private static Exception? Outcome(Action ask)
    {
        try
        {
            ask();
            return null;
        }
        catch (Exception outcome)
        {
            return outcome;
        }
    }

    private static bool IsSkip(Exception? outcome) => outcome?.GetType().Name == "SkipException";

    private void Add(string variable)
    {
        var value = Environment.GetEnvironmentVariable(variable);
        _before[variable] = value;
        Environment.SetEnvironmentVariable(variable, $"{value}, {Name}");
    }
}
