namespace Cache.Service.Http;

/// <summary>The time of the examples in the API's description: the minute in which the service started.</summary>
internal static class ExampleTime
{
    /// <summary>Milliseconds since 1970 UTC.</summary>
    public static long Start { get; } = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() / 60_000 * 60_000;
}
