namespace Cache.Client;

/// <summary>Which windows to read; by default, the 20 newest with all dimensions.</summary>
public sealed record WindowQuery
{
    /// <summary>Maximum number of windows, 1 or more; 20 by default. A number beyond what the service keeps means all.</summary>
    public int? Limit { get; init; }

    /// <summary>The earliest start, inclusive.</summary>
    public DateTimeOffset? From { get; init; }

    /// <summary>The latest start, inclusive.</summary>
    public DateTimeOffset? To { get; init; }

    /// <summary>The dimensions to read; all if empty. One that does not exist selects nothing.</summary>
    public IReadOnlyCollection<string> Dimensions { get; init; } = [];
}

/// <summary>
/// Which windows to roll up, and how; by default, all that the service keeps. Use only one of <see cref="Last"/>, <see cref="Windows"/>,
/// and <see cref="From"/> with <see cref="To"/>.
/// </summary>
public sealed record SummaryQuery
{
    /// <summary>How far back from now windows may start, in whole seconds up to 100,000.</summary>
    public TimeSpan? Last { get; init; }

    /// <summary>The number of newest windows, 1 or more.</summary>
    public int? Windows { get; init; }

    /// <summary>The earliest start, inclusive.</summary>
    public DateTimeOffset? From { get; init; }

    /// <summary>The latest start, inclusive.</summary>
    public DateTimeOffset? To { get; init; }

    /// <summary>Also a series: the length of its steps, in whole seconds up to 100,000.</summary>
    public TimeSpan? Step { get; init; }

    /// <summary>How many dimensions are listed, 1 or more; all by default.</summary>
    public int? Top { get; init; }

    /// <summary>The measure that dimensions are ordered by, largest first. With <see cref="Top"/>, the first measure by default; otherwise they are ordered by name.</summary>
    public string? By { get; init; }

    /// <summary>The dimensions to roll up; all if empty.</summary>
    public IReadOnlyCollection<string> Dimensions { get; init; } = [];
}

/// <summary>Which updates to receive; by default, all.</summary>
public sealed record StreamQuery
{
    /// <summary>The name that stands for sessions in <see cref="Types"/>.</summary>
    public const string Sessions = "session";

    /// <summary>Names of metric types, or <see cref="Sessions"/>; all if empty.</summary>
    public IReadOnlyCollection<string> Types { get; init; } = [];

    /// <summary>The dimensions to receive; all if empty. The dimension of a session is its device.</summary>
    public IReadOnlyCollection<string> Dimensions { get; init; } = [];
}
