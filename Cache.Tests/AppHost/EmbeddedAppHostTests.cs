using System.Globalization;
using System.Net;
using System.Text.Json;
using Aspire.Hosting.ApplicationModel;
using Cache.Embedded;
using Cache.Service.Persist;
using Cache.Tests.EndToEnd;
using Cache.Tests.Faults;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.AppHost;

/// <summary>The whole stack, as <c>dotnet run --project Cache.AppHost</c> starts it without a container engine.</summary>
[Collection(EmbeddedAppHost.Collection)]
public sealed class EmbeddedAppHostTests(EmbeddedAppHost host) : IDisposable
{
    private AppHostStack Stack => host.Stack;

    public void Dispose()
    {
        if (TestContext.Current.TestState?.Result == TestResult.Failed)
        {
            // Also of the processes that Aspire started, which may have ended.
            TestContext.Current.TestOutputHelper?.WriteLine(Stack.Log);
        }
    }

    [Fact]
    public async Task Simulator_BringsWindowsOfBothTypes_ThatMove()
    {
        await host.SimulateAsync(true);
        var before = TimeProvider.System.GetUtcNow();
        foreach (var type in new[] { "event", "performance" })
        {
            await Eventually.HoldsAsync(async () => Assert.True(await NewestBeforeAsync(type, before) > before.AddSeconds(-60).ToUnixTimeMilliseconds()));
            await Eventually.HoldsAsync(async () => Assert.True(await NewestBeforeAsync(type, before.AddMinutes(30)) > before.ToUnixTimeMilliseconds()));
        }
    }

    /// <summary>Restarts of the service by other tests included.</summary>
    [Fact]
    public async Task Links_AreLoggedOnce()
    {
        var page = Stack.Http.BaseAddress!.GetLeftPart(UriPartial.Authority);

        var broker = Stack.KafkaAddress.Split(',')[0];

        await Eventually.HoldsAsync(() => Assert.Equal([$"Ready. Live page: {page}/ API: {page}/scalar Metrics: {page}/metrics Kafka: {broker}"], Stack.OwnLog));
        await Stack.RestartServiceAsync();
        Assert.Single(Stack.OwnLog);
    }

    [Fact]
    public async Task BothReplicas_OwnPartitions()
    {
        await Eventually.HoldsAsync(async () =>
        {
            var held = (await Stack.PipelinesAsync(2)).Values.Select(Partitions).ToList();
            Assert.All(held, Assert.NotEmpty);
            Assert.Equal(12, held.SelectMany(partitions => partitions).Distinct().Count());
        });
    }

    [Fact]
    public async Task Rows_AreServed_AndTheLatestIsTheNewest()
    {
        var (older, newest) = (host.NextWindow(), host.NextWindow());

        await Stack.Kafka.SendAsync(Events, 0, Event(newest, "a", 2, 1));
        await Stack.Kafka.SendAsync(Events, 3, Event(older, "a", 1, 1));
        await Stack.Kafka.SendAsync(Performance, 5, Load(newest, "tv", 1.5, 2.5));

        await Stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{newest}},"a.count":2,"a.users":1}""");
        await Stack.EventuallyAnswersAsync("/metrics/performance/latest", $$"""{"window_start":{{newest}},"tv.avg_load_time":1.5,"tv.p95_load_time":2.5}""");
        await Stack.EventuallyAnswersAsync(
            "/metrics/overview",
            $$$"""
            {"event_latest":{"window_start":{{{newest}}},"a.count":2,"a.users":1},
             "performance_latest":{"window_start":{{{newest}}},"tv.avg_load_time":1.5,"tv.p95_load_time":2.5}}
            """);
        await Stack.EventuallyAnswersAsync(
            $"/metrics/event/windows?from={older}&to={newest}",
            $$"""{"windows":[{"window_start":{{newest}},"a.count":2,"a.users":1},{"window_start":{{older}},"a.count":1,"a.users":1}]}""");
    }

    [Fact]
    public async Task RejectedRow_IsInTheDeadLetters_WithItsReason()
    {
        var value = $"no row {host.NextWindow()}";

        await Stack.Kafka.SendAsync(Events, 2, value);

        await Eventually.HoldsAsync(() =>
        {
            var letter = Assert.Single(Letters(), letter => letter.Message.Value?.AsSpan().SequenceEqual(System.Text.Encoding.UTF8.GetBytes(value)) == true);
            Assert.Equal(("not_json", Events, "2"), (KafkaSide.Header(letter, DeadLetters.ReasonHeader), KafkaSide.Header(letter, DeadLetters.TopicHeader), KafkaSide.Header(letter, DeadLetters.PartitionHeader)));
        });
    }

    [Fact]
    public async Task Service_IsReadyBeforeAndAfterALoad()
    {
        await host.SimulateAsync(false);
        await Stack.ReadyAsync();
        var window = host.NextWindow();
        for (var partition = 0; partition < 6; partition++)
        {
            await Stack.Kafka.SendAsync(Events, partition, Enumerable.Range(0, 2000).Select(number => Event(window, $"d{partition}", number)));
        }

        await Stack.EverythingIsCommittedAsync();
        await Stack.ReadyAsync();
        await Stack.EventuallyAnswersAsync(
            "/metrics/event/latest", $$"""{"window_start":{{window}},"d0.count":1999,"d1.count":1999,"d2.count":1999,"d3.count":1999,"d4.count":1999,"d5.count":1999}""");
    }

    [Fact]
    public async Task RedisStopped_ByItsCommand_IsReported_AndStarted_HasEverythingAgain()
    {
        await host.SimulateAsync(false);
        await Stack.Kafka.SendAsync(Events, 1, Event(host.NextWindow(), "a", 1, 1));
        await Stack.EverythingIsCommittedAsync();
        await Stack.EventuallyAnswersAsync("/readyz", """{"status":"ready"}""");
        var before = await WindowsAsync();

        await WithoutAsync("redis", () => Eventually.HoldsAsync(async () =>
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, (await Stack.AskAsync("/metrics/event/latest")).Status);
            var ready = await Stack.AskAsync("/readyz");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, ready.Status);
            Assert.Contains("Redis does not answer", ready.Body);
        }));

        await Stack.ReadyAsync();
        await Eventually.HoldsAsync(async () => Assert.True(before.SetEquals(await WindowsAsync())));

        await Stack.CommandAsync("redis", KnownResourceCommands.RestartCommand);
        await Eventually.HoldsAsync(async () => Assert.True(before.SetEquals(await WindowsAsync())));
    }

    [Fact]
    public async Task RedisThatLosesItsData_ByItsCommand_HasEverythingAgain()
    {
        await host.SimulateAsync(false);
        await Stack.Kafka.SendAsync(Events, 1, Event(host.NextWindow(), "a", 1, 1));
        await Stack.EverythingIsCommittedAsync();
        var epoch = (await Epoch.ReadAsync(Stack.Redis)).Id;
        var before = await WindowsAsync();

        await Stack.CommandAsync("redis", "lose-data");

        await Eventually.HoldsAsync(async () => Assert.True(before.SetEquals(await WindowsAsync())));
        Assert.NotEqual(epoch, (await Epoch.ReadAsync(Stack.Redis)).Id);
    }

    [Fact]
    public async Task KafkaStopped_ByItsCommand_IsReported_AndStarted_ResumesWithItsRecords()
    {
        await host.SimulateAsync(false);
        var (before, after) = (host.NextWindow(), host.NextWindow());
        await Stack.Kafka.SendAsync(Events, 4, Event(before, "a", 1));
        await Stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{before}},"a.count":1}""");
        var ends = Stack.Kafka.Ends(Events);

        await WithoutAsync("kafka", async () =>
        {
            await Eventually.HoldsAsync(async () =>
            {
                var ready = await Stack.AskAsync("/readyz");
                Assert.Equal(HttpStatusCode.ServiceUnavailable, ready.Status);
                Assert.Contains("Kafka", ready.Body);
            });
            await Stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{before}},"a.count":1}""");
        });

        await Stack.ReadyAsync();
        Assert.Equal(ends, Stack.Kafka.Ends(Events));
        await Stack.Kafka.SendAsync(Events, 4, Event(after, "a", 2));
        await Stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{after}},"a.count":2}""");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ServiceRestarted_AroundAStopOfKafka_HasBothReplicas_OnceKafkaIsBack(bool whileStopped)
    {
        await host.SimulateAsync(false);
        var restarted = whileStopped ? null : RestartAsync();
        await WithoutAsync("kafka", () =>
        {
            restarted ??= RestartAsync();
            return Task.Delay(TimeSpan.FromSeconds(3));
        });

        await restarted!;
        await BothReplicas_OwnPartitions();

        Task RestartAsync() => Stack.CommandAsync("cache", KnownResourceCommands.RestartCommand);
    }

    [Fact]
    public async Task ReplicaThatIsKilled_LeavesItsPartitionsToTheOther_AndNothingIsLost()
    {
        await host.SimulateAsync(false);
        // More than ever come: the simulator's windows count, too.
        var ledger = new Ledger(retention: 10_000);
        var rows = new RowMaker(7, new RowMix { Partitions = 6, Malformed = 0.1, Repeated = 0.05 }, ledger);
        string[] topics = [Events, Performance];
        await using (var load = Meanwhile.Start(async enough =>
        {
            while (!enough.IsCancellationRequested)
            {
                await Stack.Kafka.SendAsync(Enumerable.Range(0, 20).Select(_ => rows.Next(topics)).Select(row => (row.To, Ledger.Message(row))));
                await Eventually.PaceAsync();
            }
        }))
        {
            await KillOneReplicaAsync();
            await load.StopAsync();
        }

        await Stack.Kafka.SendAsync(rows.Last(topics).Select(row => (row.To, Ledger.Message(row))));
        await Stack.EverythingIsCommittedAsync();

        var log = ledger.Read(Stack.Kafka.ReadAll(topics).Where(row => ledger.Has(row.Message.Key)));
        Assert.Equal(ledger.Last, log.Partitions.Values.Sum(partition => partition.Count));
        var findings = new Findings();
        Checker.CheckEnd(log, (await RedisState.ReadAsync(Stack.Redis)).Of(log), findings);
        Assert.True(findings.All.Count == 0, findings.ToString());
    }

    [Fact]
    public async Task Burst_AndMalformedRows_ComeFromCommandsOfTheSimulator()
    {
        await host.SimulateAsync(false);
        var (rows, letters) = (Sent(), Letters().Count());

        await Stack.CommandAsync("simulator", "send-burst");
        Assert.Equal(rows + 5000, Sent());
        Assert.Equal(letters, Letters().Count());

        await Stack.CommandAsync("simulator", "send-malformed");
        Assert.Equal(rows + 5100, Sent());
        await Eventually.HoldsAsync(() => Assert.Equal(letters + 100, Letters().Count()));
        await Stack.EverythingIsCommittedAsync();
        await Stack.ReadyAsync();

        long Sent() => Stack.Kafka.Ends(Events).Sum() + Stack.Kafka.Ends(Performance).Sum();
    }

    [Fact]
    public async Task Projects_AreGivenTheirAddresses_AndWhatSuitsTheEmbeddedKafka()
    {
        var cache = await Stack.EnvironmentAsync("cache");
        Assert.Equal((Stack.KafkaAddress, Stack.RedisAddress), (cache["ConnectionStrings__kafka"], cache["ConnectionStrings__redis"]));
        Assert.All(EmbeddedKafka.ClientSettings, setting => Assert.Equal(setting.Value, cache[$"Kafka__{setting.Key.Replace('.', '_')}"]));
        Assert.Superset(new HashSet<string> { "ASPNETCORE_URLS", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME" }, cache.Keys.ToHashSet());

        var simulator = await Stack.EnvironmentAsync("simulator");
        Assert.Equal(Stack.KafkaAddress, simulator["ConnectionStrings__kafka"]);
        Assert.Equal(("20", "7", "false"), (simulator["simulator_rate"], simulator["simulator_seed"], simulator["simulator_sessions"]));
        Assert.InRange(DateTimeOffset.Parse(simulator["simulator_start"], CultureInfo.InvariantCulture), TimeProvider.System.GetUtcNow().AddHours(-1), TimeProvider.System.GetUtcNow());
        Assert.DoesNotContain("ConnectionStrings__redis", simulator.Keys);
    }

    /// <summary>The dead letters, one per row: after another test has emptied Redis, rejected rows are read and sent again.</summary>
    private IEnumerable<Confluent.Kafka.ConsumeResult<byte[]?, byte[]?>> Letters() => Stack.Kafka.ReadAll(Stack.DeadLetterTopic).DistinctBy(letter =>
        (KafkaSide.Header(letter, DeadLetters.TopicHeader), KafkaSide.Header(letter, DeadLetters.PartitionHeader), KafkaSide.Header(letter, DeadLetters.OffsetHeader)));

    private static List<(string Topic, int Partition)> Partitions(JsonElement pipeline) =>
        [.. pipeline.GetProperty("lag").EnumerateArray().Select(lag => (lag.GetProperty("topic").GetString()!, lag.GetProperty("partition").GetInt32()))];

    /// <summary>Stops a server by its command, and starts it again whatever happens: the stack is not this test's alone.</summary>
    private async Task WithoutAsync(string server, Func<Task> assertions)
    {
        await Stack.CommandAsync(server, KnownResourceCommands.StopCommand);
        try
        {
            await Stack.StateAsync(server, KnownResourceStates.Exited);
            await assertions();
        }
        finally
        {
            await Stack.CommandAsync(server, KnownResourceCommands.StartCommand);
            await Stack.StateAsync(server, KnownResourceStates.Running);
        }
    }

    /// <summary>Kills a replica (SIGKILL), waits until the other owns its partitions, and starts it again.</summary>
    private async Task KillOneReplicaAsync()
    {
        Dictionary<int, JsonElement> replicas = [];
        await Eventually.HoldsAsync(async () =>
        {
            replicas = await Stack.PipelinesAsync(2);
            Assert.All(replicas.Values, replica => Assert.NotEmpty(Partitions(replica)));
        });
        var (killed, heir) = (replicas.Keys.First(), replicas.Keys.Last());
        using (var process = System.Diagnostics.Process.GetProcessById(killed))
        {
            process.Kill();
        }

        try
        {
            await Eventually.HoldsAsync(async () => Assert.Equal(12, Partitions((await Stack.PipelinesAsync(1))[heir]).Count));
        }
        finally
        {
            await Stack.StartEndedReplicaAsync();
        }

        await Eventually.HoldsAsync(async () => Assert.All((await Stack.PipelinesAsync(2)).Values, replica => Assert.NotEmpty(Partitions(replica))));
    }

    private async Task<long> NewestBeforeAsync(string type, DateTimeOffset end)
    {
        var windows = (await Stack.GetAsync($"/metrics/{type}/windows?limit=1&to={end.ToUnixTimeMilliseconds()}")).GetProperty("windows");
        return windows.GetArrayLength() == 0 ? 0 : windows[0].GetProperty("window_start").GetInt64();
    }

    private async Task<HashSet<string>> WindowsAsync()
    {
        var windows = new HashSet<string>();
        foreach (var type in new[] { "event", "performance" })
        {
            windows.UnionWith((await Stack.GetAsync($"/metrics/{type}/windows?limit=1000")).GetProperty("windows").EnumerateArray()
                .Select(window => $"{type} {string.Join(',', window.EnumerateObject().Select(field => $"{field.Name}={field.Value}").Order(StringComparer.Ordinal))}"));
        }

        return windows;
    }
}
