namespace Cache.Tests.Decode;

/// <summary>Counts the bytes that code allocates.</summary>
internal static class Allocations
{
    /// <summary>
    /// The bytes that an action allocates on this thread, at the best of many times: each garbage collection, also one that other tests
    /// cause, counts the unused rest of the thread's buffer.
    /// </summary>
    public static long Of(Action action)
    {
        var least = long.MaxValue;
        for (var time = 0; time < 100 && least > 0; time++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            action();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        return least;
    }
}
