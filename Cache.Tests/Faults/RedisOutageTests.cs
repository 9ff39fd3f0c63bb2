using System.Diagnostics;
using System.Net;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.Faults;

/// <summary>Redis is down for a long time, and comes back with its data.</summary>
public sealed class RedisOutageTests
{
    private static readonly TimeSpan Outage = TimeSpan.FromSeconds(30);

    [Fact]
    [Trait("Category", "Long")]
    public Task RedisDownForHalfAMinuteUnderLoad_LosesNothing_CommitsNothing_AndEveryAnswerSaysSoWithinASecond() => FaultAlone.BreaksNoPromiseAsync(
        new("Redis down for half a minute", FaultOf.Redis, 0, async (run, _) =>
        {
            var redis = run.Redis.Servers[0];
            var service = run.Members.Single().Process;

            // It saves on shutdown: whatever it accepted, it still has when it is back.
            await run.Redis.ExecuteAsync(redis, "CONFIG", "SET", "save", "3600 1");
            var stopped = Stopwatch.GetTimestamp();
            redis.Stop();

            await Eventually.HoldsAsync(async () => Assert.Equal(HttpStatusCode.ServiceUnavailable, (await AskAsync("/readyz")).Status), TimeSpan.FromSeconds(5));
            run.Note($"not ready after {Stopwatch.GetElapsedTime(stopped).TotalSeconds:F1} s");

            // The response to the last write may have led to one more commit.
            await Task.Delay(TimeSpan.FromSeconds(2));
            var committed = run.Committed();
            var late = 0;
            var asked = 0;
            while (Stopwatch.GetElapsedTime(stopped) < Outage)
            {
                foreach (var route in (string[])["/metrics/event/latest", "/metrics/performance/windows", "/metrics/overview", "/healthz", "/readyz"])
                {
                    var (status, took) = await AskAsync(route);
                    Assert.Equal(HttpStatusCode.ServiceUnavailable, status);
                    asked++;
                    late += took > TimeSpan.FromSeconds(1) ? 1 : 0;
                }

                await Task.Delay(200);
            }

            run.Note($"{asked} answers while Redis was away, {late} of them after more than a second");

            // A busy machine may delay one or two responses.
            Assert.InRange(late, 0, asked / 20);
            Assert.Equal(committed, run.Committed());
            await redis.RestartFromDiskAsync();

            async Task<(HttpStatusCode Status, TimeSpan Took)> AskAsync(string route)
            {
                var started = Stopwatch.GetTimestamp();
                using var answer = await service.Http.GetAsync(route);
                return (answer.StatusCode, Stopwatch.GetElapsedTime(started));
            }
        }),
        seed: 5);
}
