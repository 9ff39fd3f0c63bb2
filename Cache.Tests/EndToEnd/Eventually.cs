using System.Diagnostics;
using Confluent.Kafka;
using StackExchange.Redis;
using Xunit.Sdk;

namespace Cache.Tests.EndToEnd;

/// <summary>Polls until something happens elsewhere, or a deadline passes.</summary>
internal static class Eventually
{
    /// <summary>Generous, as rebalances and restarts take their time: a passing test never waits for it.</summary>
    public static readonly TimeSpan TestTimeout = 2 * Cache.Tests.TestTimeout.Full;

    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(20);

    /// <summary>Repeats assertions until they hold; at the timeout, the last failure becomes the test's.</summary>
    public static Task HoldsAsync(Action assertions, TimeSpan? timeout = null) =>
        HoldsAsync(() => Task.Run(assertions), timeout);

    /// <summary>Repeats assertions until they hold; at the timeout, the last failure becomes the test's.</summary>
    public static async Task HoldsAsync(Func<Task> assertions, TimeSpan? timeout = null)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                await assertions();
                return;
            }
            catch (Exception exception) when (MayPass(exception) && Stopwatch.GetElapsedTime(started) < (timeout ?? TestTimeout))
            {
                await Task.Delay(Pace, TestContext.Current.CancellationToken);
            }
        }
    }

    /// <summary>Repeats assertions for a while; they must hold every time.</summary>
    public static async Task KeepsHoldingAsync(Func<Task> assertions, TimeSpan span)
    {
        var started = Stopwatch.GetTimestamp();
        do
        {
            await assertions();
            await Task.Delay(Pace, TestContext.Current.CancellationToken);
        }
        while (Stopwatch.GetElapsedTime(started) < span);
    }

    /// <summary>Limits a load to what an embedded Kafka can hold.</summary>
    public static Task PaceAsync() => Task.Delay(Pace);

    private static bool MayPass(Exception exception) =>
        exception is IAssertionException or XunitException or KafkaException or RedisException or TimeoutException or HttpRequestException
            or TaskCanceledException or KeyNotFoundException or InvalidOperationException or ArgumentOutOfRangeException or IndexOutOfRangeException
            or Microsoft.Playwright.PlaywrightException;
}
