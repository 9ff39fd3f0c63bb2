using System.Diagnostics;
using System.Net;

namespace Cache.Benchmarks;

/// <summary>
/// <c>startup</c>: the time from the start of the process to the first 200 from <c>/healthz</c>, and from <c>/readyz</c>, with broker and
/// Redis up and a consumer group without other members, compared with <see cref="BareReads"/> from its start to its first answer. For a
/// new group, the mock broker waits 100 ms for more members; a real one waits for <c>group.initial.rebalance.delay.ms</c>, 3 s by default.
/// </summary>
internal static class StartupVerb
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(60);

    public static async Task RunAsync(Run run)
    {
        run.Conditions(6);
        await using var broker = await run.StartBrokerAsync(6);
        await using var redis = await ServerProcess.StartRedisAsync();
        var answers = Directory.CreateTempSubdirectory("bench-answers-");
        await File.WriteAllTextAsync(Path.Combine(answers.FullName, "0"), "{}");
        var group = 0;
        try
        {
            var results = await Rounds.AlternateAsync(
                2 * run.Rounds,
                ("healthy", () => MeasureServiceAsync("/healthz")),
                ("ready", () => MeasureServiceAsync("/readyz")),
                ("bare", () => MeasureAsync("/0", () => ServerProcess.StartAsync("Cache.Benchmarks.dll", "bare-reads", answers.FullName))));
            run.Report.Add("startup_healthy_ms", "ms", results["healthy"].Select(result => result.AnswerMs));
            run.Report.Add("startup_ms", "ms", results["ready"].Select(result => result.AnswerMs));
            run.Report.Add("startup_listening_ms", "ms", results["ready"].Select(result => result.ListeningMs));
            run.Report.Add("startup_cpu_ms", "ms", results["ready"].Select(result => result.CpuMs));
            run.Report.Add("startup_bare_ms", "ms", results["bare"].Select(result => result.AnswerMs));
            run.Report.Add("startup_bare_cpu_ms", "ms", results["bare"].Select(result => result.CpuMs));
            run.Report.AddRatio("startup_healthy_vs_bare", results["healthy"].Select(result => result.AnswerMs), results["bare"].Select(result => result.AnswerMs));
            run.Report.AddRatio("startup_vs_bare", results["ready"].Select(result => result.AnswerMs), results["bare"].Select(result => result.AnswerMs));
        }
        finally
        {
            answers.Delete(recursive: true);
        }

        Task<Result> MeasureServiceAsync(string route) => MeasureAsync(route, () => ServerProcess.StartAsync(
            Side.Service,
            [
                "--urls", "http://127.0.0.1:0", .. broker.ServiceArguments, "--ConnectionStrings:redis", $"127.0.0.1:{redis.Port}",
                "--cache_kafka_consumer_group", $"{broker.Topic}_{++group}",
            ]));
    }

    /// <summary>The result of one start.</summary>
    /// <param name="AnswerMs">Time to the first 200.</param>
    /// <param name="ListeningMs">Time until it listened.</param>
    /// <param name="CpuMs">CPU time to the first 200.</param>
    internal sealed record Result(double AnswerMs, double ListeningMs, double CpuMs);

    private static async Task<Result> MeasureAsync(string route, Func<Task<ServerProcess>> start)
    {
        var started = Stopwatch.GetTimestamp();
        await using var server = await start();
        var listening = Stopwatch.GetElapsedTime(started);
        using var http = new HttpClient { BaseAddress = new($"http://127.0.0.1:{server.Port}") };
        while (true)
        {
            using var answer = await http.GetAsync(route);
            var took = Stopwatch.GetElapsedTime(started);
            if (answer.StatusCode == HttpStatusCode.OK)
            {
                return new(took.TotalMilliseconds, listening.TotalMilliseconds, server.Cpu.TotalMilliseconds);
            }

            if (took > Timeout)
            {
                throw new InvalidOperationException($"{route} still answers, after {took}: {await answer.Content.ReadAsStringAsync()}");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System, CancellationToken.None);
        }
    }
}
