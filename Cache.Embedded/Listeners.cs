namespace Cache.Embedded;

/// <summary>
/// What must not coincide with the start of a process: until its program begins, a new process holds copies of all sockets of the one
/// that starts it, so a listener that closes in that moment keeps its port, and a new one cannot take it over.
/// </summary>
public static class Listeners
{
    private static readonly Lock Turn = new();

    /// <summary>
    /// Starts a process, or replaces a listener, while nobody else does. Whoever runs an <see cref="EmbeddedKafka"/> and takes its
    /// brokers down starts processes by it: a broker that cannot take its port over ends this process (librdkafka asserts that it can).
    /// </summary>
    /// <typeparam name="T">The result.</typeparam>
    /// <param name="change">Starts or replaces; blocks others meanwhile.</param>
    public static T Change<T>(Func<T> change)
    {
        lock (Turn)
        {
            return change();
        }
    }
}
