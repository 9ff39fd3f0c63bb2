namespace Cache.Tests.Faults;

/// <summary>How a promise was broken.</summary>
internal enum Breach
{
    /// <summary>A row is neither in Redis nor in the dead letters.</summary>
    Lost,

    /// <summary>Redis or the dead letters hold something that no row contains.</summary>
    Invented,

    /// <summary>A settled value was replaced by an older one.</summary>
    Regressed,

    /// <summary>An offset was committed before its row was in Redis or in the dead letters.</summary>
    CommittedEarly,

    /// <summary>A response took too long, or a process ended or did not recover.</summary>
    Unavailable,
}

/// <summary>The broken promises; normally none.</summary>
internal sealed class Findings
{
    private readonly Lock _lock = new();
    private readonly List<(Breach Breach, string What)> _all = [];

    public void Add(Breach breach, string what)
    {
        lock (_lock)
        {
            _all.Add((breach, what));
        }
    }

    public IReadOnlyList<(Breach Breach, string What)> All
    {
        get
        {
            lock (_lock)
            {
                return [.. _all];
            }
        }
    }

    public int Count(Breach breach) => All.Count(finding => finding.Breach == breach);

    public override string ToString() => string.Join('\n', All.Take(40).Select(finding => $"{finding.Breach}: {finding.What}"));
}
