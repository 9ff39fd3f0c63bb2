using System.Diagnostics;

namespace Cache.Benchmarks;

/// <summary>The CPU time of the service and of a bare client, while both do the same at the same time.</summary>
internal static class CpuShare
{
    /// <summary>Measures both in several rounds, and reports them and their ratio.</summary>
    /// <param name="run">The run.</param>
    /// <param name="name">The beginning of the figures' names.</param>
    /// <param name="service">The service.</param>
    /// <param name="client">The bare client.</param>
    /// <param name="during">What goes on during a round.</param>
    public static async Task MeasureAsync(Run run, string name, Side service, Side client, Func<Task> during)
    {
        var (ours, theirs) = (new List<double>(), new List<double>());
        for (var round = 0; round < run.Rounds; round++)
        {
            var (began, cpu, bare) = (Stopwatch.GetTimestamp(), service.Process.Cpu, client.Process.Cpu);
            await during();
            var elapsed = Stopwatch.GetElapsedTime(began);
            ours.Add(100 * ((service.Process.Cpu - cpu) / elapsed));
            theirs.Add(100 * ((client.Process.Cpu - bare) / elapsed));
            await Console.Error.WriteLineAsync($"round {round + 1}/{run.Rounds} {name}: {ours[^1]:0.00} % of a core, a bare client {theirs[^1]:0.00} %");
        }

        run.Report.Add($"{name}_cpu_percent", "%", ours);
        run.Report.Add($"{name}_client_cpu_percent", "%", theirs);
        run.Report.AddRatio($"{name}_cpu_vs_client", ours, theirs);
    }
}
