using System.Diagnostics;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.ServiceDefaults.Portable;

/// <summary>Counts the threads of the process and so runs alone.</summary>
[Collection(typeof(KafkaHealthLeakTests))]
[CollectionDefinition(DisableParallelization = true)]
public sealed class KafkaHealthLeakTests
{
    [Fact]
    public async Task Check_LeavesNoThreadsBehind()
    {
        using var kafka = new MockKafka();
        var builder = Hosts.Builder(("ConnectionStrings:kafka", kafka.Address));
        builder.AddKafkaProducer<string, string>("kafka");
        using var host = builder.Build();
        await CheckAsync();

        var before = Threads();
        for (var i = 0; i < 20; i++)
        {
            await CheckAsync();
        }

        // The thread pool may have grown a little; a thread a check would be twenty.
        Assert.InRange(Threads() - before, int.MinValue, 10);

        async Task CheckAsync() => Assert.Equal(
            HealthStatus.Healthy, (await host.Services.CheckAsync("Aspire.Confluent.Kafka.Producer")).Status);
    }

    private static int Threads()
    {
        using var process = Process.GetCurrentProcess();
        return process.Threads.Count;
    }
}
