namespace Cache.Tests.Faults;

/// <summary>
/// Each fault of the campaign on its own, under load: on a service in its own process, a redis-server, and an embedded Kafka.
/// During and after it, every promise is checked against Kafka and Redis (<see cref="Checker"/>).
/// </summary>
internal static class FaultAlone
{
    /// <summary>The names of the faults that affect one part.</summary>
    public static TheoryData<string> Names(FaultOf of) => [.. CampaignFault.All.Where(fault => fault.Of == of).Select(fault => fault.Name)];

    /// <summary>Asserts that nothing was lost, invented, regressed or committed early, and that everything recovered.</summary>
    public static Task BreaksNoPromiseAsync(string name)
    {
        var number = CampaignFault.All.Select(fault => fault.Name).ToList().IndexOf(name);
        return BreaksNoPromiseAsync(CampaignFault.All[number], 1000 + number);
    }

    /// <summary>As above, for a fault that is not in the campaign.</summary>
    public static async Task BreaksNoPromiseAsync(CampaignFault fault, int seed, Func<Task<RedisGroup>>? redis = null)
    {
        RedisServer.Require();
        var result = await CampaignRun.RunAsync(seed, fault.Alone(seed), redis);
        TestContext.Current.TestOutputHelper?.WriteLine(result.Log);
        Assert.True(result.Findings.All.Count == 0, $"{result.Findings}\n\n{result.Log}");
        Assert.True(result.Looks > 0);
    }
}

/// <summary>Faults of the service: killed, terminated, frozen, one of several.</summary>
public sealed class ServiceFaultTests
{
    public static TheoryData<string> Names => FaultAlone.Names(FaultOf.Service);

    [Theory]
    [MemberData(nameof(Names))]
    public Task FaultOfTheService_UnderLoad_BreaksNoPromise(string fault) => FaultAlone.BreaksNoPromiseAsync(fault);
}

/// <summary>Faults of Redis.</summary>
public sealed class RedisFaultTests
{
    public static TheoryData<string> Names => FaultAlone.Names(FaultOf.Redis);

    [Theory]
    [MemberData(nameof(Names))]
    public Task FaultOfRedis_UnderLoad_BreaksNoPromise(string fault) => FaultAlone.BreaksNoPromiseAsync(fault);
}

/// <summary>Faults of Kafka, and of the rows in it.</summary>
public sealed class KafkaFaultTests
{
    public static TheoryData<string> Names => FaultAlone.Names(FaultOf.Kafka);

    [Theory]
    [MemberData(nameof(Names))]
    public Task FaultOfKafka_UnderLoad_BreaksNoPromise(string fault) => FaultAlone.BreaksNoPromiseAsync(fault);
}
