namespace Cache.Tests;

/// <summary>Finds files of the repository for tests that read them.</summary>
internal static class Repository
{
    private static readonly string Root = FindRoot();

    /// <summary>The path of a file.</summary>
    public static string File(params string[] path) => Path.Combine([Root, .. path]);

    private static string FindRoot()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!System.IO.File.Exists(Path.Combine(folder.FullName, "Cache.sln")))
        {
            folder = folder.Parent ?? throw new InvalidOperationException("The tests do not run inside the repository.");
        }

        return folder.FullName;
    }
}
