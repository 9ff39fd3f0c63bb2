namespace Cache.Embedded;

/// <summary>The whole stack in one process.</summary>
public static class Program
{
    /// <summary>Runs the stack until Ctrl-C.</summary>
    public static Task<int> Main(string[] args) => Task.FromResult(args.Length);
}
