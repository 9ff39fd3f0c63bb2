using System.Diagnostics;
using System.Reflection;
using System.Text;
using Cache.Producer.Simulator;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Cache.Tests.Simulator;

public sealed class SimulatorRunTests
{

    [Fact]
    public async Task Run_SendsExactlyTheRowsOfItsSeed_InOrder_ThenStops()
    {
        using var kafka = new MockKafka();
        using var host = Producer.Simulator.Program.Build(
        [
            "--ConnectionStrings:kafka", kafka.Servers, "--rate", "0", "--count", "3000", "--seed", "7", "--sessions", "--quiet",
            "--malformed_share", "0.1", "--late_share", "0.1", "--repeat_share", "0.1", "--out_of_order_share", "0.1",
        ]);
        var status = host.Services.GetRequiredService<SimulatorStatus>();
        await RunAsync(host);

        Assert.Equal(SimulatorStatus.Success, status.ExitCode);
        Assert.Equal((3000, 3000, 0, 7), (status.Sent, status.Acknowledged, status.Errors, status.Seed));

        var expected = RowGeneratorTests.Rows(
            new()
            {
                Count = 3000,
                Rate = 0,
                Sessions = true,
                MalformedShare = 0.1,
                LateShare = 0.1,
                RepeatShare = 0.1,
                OutOfOrderShare = 0.1,
            },
            7).ToArray();
        var consumed = kafka.Consume(expected.Length);
        Assert.Equal(expected.Length, consumed.Count);
        Assert.Equal(expected.Count(row => row.Traits.HasFlag(RowTraits.Malformed)), status.Malformed);
        foreach (var partition in consumed.GroupBy(row => row.TopicPartition))
        {
            var keys = partition.Select(row => row.Message.Key).ToHashSet();
            var rows = expected.Where(row => row.Topic == partition.Key.Topic && keys.Contains(row.Key)).ToArray();
            Assert.Equal(rows.Select(row => row.Key), partition.Select(row => row.Message.Key));
            Assert.Equal(rows.Select(row => row.Value), partition.Select(row => row.Message.Value));
        }
    }

    [Fact]
    public async Task Run_StartsATraceForEveryRow_WhenSomebodyListens()
    {
        using var kafka = new MockKafka();
        List<Activity> ended = [];
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == Producer.Simulator.Program.Name,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = activity =>
            {
                lock (ended)
                {
                    ended.Add(activity);
                }
            },
        };
        ActivitySource.AddActivityListener(listener);
        using var host = Producer.Simulator.Program.Build(["--ConnectionStrings:kafka", kafka.Servers, "--rate", "0", "--count", "20", "--quiet"]);
        await RunAsync(host);

        var headers = kafka.Consume(20)
            .Select(row => Encoding.ASCII.GetString(row.Message.Headers.GetLastBytes("traceparent")))
            .ToArray();
        Assert.Equal(20, headers.Select(header => header.Split('-')[1]).Distinct().Count());
        lock (ended)
        {
            // Other tests may be sending at the same time.
            var own = ended.Where(activity => headers.Contains(activity.Id)).ToArray();
            Assert.Equal(20, own.Length);
            Assert.All(own, activity =>
            {
                Assert.Equal(ActivityKind.Producer, activity.Kind);
                Assert.Equal($"send {activity.GetTagItem("messaging.destination.name")}", activity.OperationName);
                Assert.Equal("kafka", activity.GetTagItem("messaging.system"));
            });
        }
    }

    [Fact]
    public void Build_NamesTheApplication_SoThatItsSpansAreRegisteredInAnyProcess()
    {
        using var host = Producer.Simulator.Program.Build(["--quiet"]);
        Assert.Equal(Producer.Simulator.Program.Name, host.Services.GetRequiredService<IHostEnvironment>().ApplicationName);
    }

    [Fact]
    public async Task Run_WhenTheBrokerGoesDown_SaysThatRowsWereNotAcknowledged()
    {
        using var kafka = new MockKafka();
        using var host = Producer.Simulator.Program.Build(
        [
            "--ConnectionStrings:kafka", kafka.Servers, "--rate", "200", "--count", "600", "--quiet",
            "--Kafka:message.timeout.ms", "1500",
        ]);
        var status = host.Services.GetRequiredService<SimulatorStatus>();
        await using var run = Meanwhile.Start(stop => host.RunAsync(stop));
        await Until(() => status.Acknowledged > 0);
        kafka.Dispose();
        await run.Completion.WaitAsync(TestTimeout.Full);

        Assert.Equal(SimulatorStatus.NotAcknowledged, status.ExitCode);
        Assert.Equal(600, status.Sent);
        Assert.True(status.Errors > 0 && status.Acknowledged + status.Errors == status.Sent);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task Stop_WhileKafkaIsNotThere_EndsSoon(int secondsLater)
    {
        using var host = Producer.Simulator.Program.Build(["--ConnectionStrings:kafka", "127.0.0.1:1", "--quiet"]);
        await using var ending = new Ending(host);
        await host.StartAsync();
        await Task.Delay(TimeSpan.FromSeconds(secondsLater));
        await host.StopAsync().WaitAsync(TestTimeout.Full);
        Assert.Equal(SimulatorStatus.Success, host.Services.GetRequiredService<SimulatorStatus>().ExitCode);
    }

    [Fact]
    public async Task Wait_ForKafka_IsLoggedEverMoreSeldom()
    {
        using var host = Producer.Simulator.Program.Build(["--ConnectionStrings:kafka", "127.0.0.1:1", "--quiet"]);
        var log = Capture(host);
        await using var ending = new Ending(host);
        await host.StartAsync();
        await Until(() => log.Lines.Any(IsWait));
        var clock = Stopwatch.StartNew();
        await Until(() => log.Lines.Count(IsWait) > 1);
        Assert.True(clock.Elapsed > TimeSpan.FromSeconds(4), $"again after {clock.Elapsed}");
        Assert.Matches(@"Waiting for Kafka at 127\.0\.0\.1:1: .*\([0-9]+ s so far\)", log.Lines.Last(IsWait));

        static bool IsWait(string line) => line.Contains("Waiting for", StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stop_WithImpatience_GivesUpTheFlush()
    {
        using var kafka = new MockKafka();
        using var host = Producer.Simulator.Program.Build(["--ConnectionStrings:kafka", kafka.Servers, "--rate", "1000", "--quiet"]);
        var status = host.Services.GetRequiredService<SimulatorStatus>();
        await using var ending = new Ending(host);
        await host.StartAsync();
        await Until(() => status.Acknowledged > 0);
        kafka.Dispose();
        var sent = status.Sent;
        await Until(() => status.Sent > sent + 100);

        using var impatience = new CancellationTokenSource(TimeSpan.FromMilliseconds(200));
        var clock = Stopwatch.StartNew();
        await Record.ExceptionAsync(() => host.StopAsync(impatience.Token));
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(20));
        Assert.Equal(SimulatorStatus.NotAcknowledged, status.ExitCode);
    }

    [Fact]
    public async Task Run_WithAPropertyKafkaDoesNotKnow_IsUnusable()
    {
        using var host = Producer.Simulator.Program.Build(["--Kafka:no_such_property", "1", "--quiet"]);
        var status = host.Services.GetRequiredService<SimulatorStatus>();
        await RunAsync(host);
        Assert.Equal(SimulatorStatus.Unusable, status.ExitCode);
    }

    [Fact]
    public async Task Run_WithPropertiesInTheConnectionString_SendsWithThem_AndTheSectionGoesOverThem()
    {
        using var kafka = new MockKafka();
        using var host = Producer.Simulator.Program.Build(
        [
            "--ConnectionStrings:kafka", $"BootstrapServers={kafka.Servers.Split(',')[0]};ClientId=mine;SecurityProtocol=SaslSsl;SaslMechanism=Plain;SaslPassword=S3cr3t-mark",
            "--Kafka:security_protocol", "plaintext", "--rate", "0", "--count", "20",
        ]);
        var log = Capture(host);
        var status = host.Services.GetRequiredService<SimulatorStatus>();
        var producer = host.Services.GetRequiredService<IProducer<byte[], byte[]>>();
        Assert.StartsWith("mine#", producer.Name, StringComparison.Ordinal);
        await host.RunAsync().WaitAsync(TestTimeout.Full);

        Assert.Equal((SimulatorStatus.Success, 20), (status.ExitCode, status.Acknowledged));
        Assert.DoesNotContain("S3cr3t", string.Join('\n', log.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_WithPropertiesOfTheConnectionStringThatDoNotGoTogether_NamesThem_WithoutTheirValues()
    {
        using var host = Producer.Simulator.Program.Build(["--ConnectionStrings:kafka", "BootstrapServers=127.0.0.1:1;SecurityProtocol=Ssl;SslKeyPem=S3cr3t-mark", "--quiet"]);
        var log = Capture(host);
        var status = host.Services.GetRequiredService<SimulatorStatus>();
        await host.RunAsync().WaitAsync(TestTimeout.Full);

        Assert.Equal(SimulatorStatus.Unusable, status.ExitCode);
        Assert.Contains(log.Lines, line => line.Contains("does not take security.protocol, ssl.key.pem together", StringComparison.Ordinal));
        Assert.DoesNotContain("S3cr3t", string.Join('\n', log.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public void Build_WithBadOptions_ThrowsWithAllOfThem()
    {
        var bad = Assert.Throws<ConfigurationException>(() => Producer.Simulator.Program.Build(["--rate", "x", "--count", "x"]));
        Assert.Equal(2, bad.Errors.Count);
    }

    [Fact]
    public async Task Process_PrintsASummary_AndExitsWithZero()
    {
        using var kafka = new MockKafka();
        var (exitCode, output, errors) = await RunProcess(
            "--ConnectionStrings:kafka", kafka.Servers, "--rate", "1000", "--count", "2500", "--seed", "7",
            "--malformed_share", "0.1");

        Assert.True(exitCode == 0, output + errors);
        Assert.Empty(errors);
        Assert.Contains(
            "1,000 rows/s, 2,500 rows, 5 s windows from 2025-01-01T00:00:00Z, seed 7.", output, StringComparison.Ordinal);
        Assert.Matches(@"\n +2 s +[12],\d{3} sent +[12],\d{3} acknowledged +[\d,]+ rows/s +0 errors", output);
        Assert.Matches(@"\ntotal +2,500 +2,500 +\d{3} +0\r?\n", output);
        Assert.Contains("0 not acknowledged, seed 7", output, StringComparison.Ordinal);
        Assert.Equal(2500, kafka.Consume(2500).Count);
    }

    [Fact]
    public async Task Process_WithBadOptions_NamesThemAll_AndExitsWithOne()
    {
        var (exitCode, output, errors) = await RunProcess("--rate", "fast", "--partitions", "none");
        Assert.Equal(1, exitCode);
        Assert.Empty(output);
        Assert.Contains("rate is 'fast'", errors, StringComparison.Ordinal);
        Assert.Contains("partitions is 'none'", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Process_WithAnUnknownOption_NamesTheNearest_AndExitsWithOne()
    {
        var (exitCode, output, errors) = await RunProcess("--cuont", "5");
        Assert.Equal(1, exitCode);
        Assert.Empty(output);
        Assert.Contains("--cuont: no such option; did you mean --count?", errors, StringComparison.Ordinal);
        Assert.Contains("--help lists the options.", errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("-h", "--cuont")]
    public async Task Process_PrintsItsOptions_AndExitsWithZero(params string[] args)
    {
        var (exitCode, output, errors) = await RunProcess(args);
        Assert.Equal((0, ""), (exitCode, errors));
        Assert.Contains("--rate <rows/s>", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Process_PrintsItsVersion_AndExitsWithZero()
    {
        var version = typeof(SimulatorOptions).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
        var (exitCode, output, errors) = await RunProcess("--version");
        Assert.Equal((0, version, ""), (exitCode, output.Trim(), errors));
    }

    /// <summary>Runs a simulator to its end. At the timeout it is stopped: its client must not be disposed while it sends.</summary>
    private static async Task RunAsync(IHost host)
    {
        using var deadline = new CancellationTokenSource(TestTimeout.Full);
        await host.RunAsync(deadline.Token);
        Assert.False(deadline.IsCancellationRequested, "not in time");
    }

    private static LogCapture Capture(IHost host)
    {
        var log = new LogCapture();
        host.Services.GetRequiredService<ILoggerFactory>().AddProvider(log);
        return log;
    }

    private static async Task Until(Func<bool> condition)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(clock.Elapsed < TestTimeout.Full, "not in time");
            await Task.Delay(20);
        }
    }

    private static async Task<(int ExitCode, string Output, string Errors)> RunProcess(params string[] args)
    {
        var dll = Path.Combine(AppContext.BaseDirectory, "Cache.Producer.Simulator.dll");
        using var process = ChildProcess.Start("dotnet", [dll, .. args]);
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        try
        {
            await process.WaitForExitAsync().WaitAsync(TestTimeout.Full);
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }

        return (process.ExitCode, await output, await errors);
    }

    /// <summary>Stops a simulator before its client is disposed, even if the test fails.</summary>
    private sealed class Ending(IHost host) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync() => await host.StopAsync();
    }

    // The client library's mock cluster, with the topics already created.
    private sealed class MockKafka : IDisposable
    {
        private static readonly string[] Topics =
            [RowGenerator.EventTopic, RowGenerator.PerformanceTopic, RowGenerator.SessionTopic];

        private readonly IProducer<Null, Null> _cluster;
        private readonly List<TopicPartitionOffset> _partitions;

        public MockKafka()
        {
            var config = new ProducerConfig { BootstrapServers = "127.0.0.1:1" };
            config.Set("test.mock.num.brokers", "3");
            _cluster = new ProducerBuilder<Null, Null>(config).SetLogHandler((_, _) => { }).Build();
            using var admin = new DependentAdminClientBuilder(_cluster.Handle).Build();
            Servers = string.Join(',', admin.GetMetadata(TestTimeout.Full).Brokers.Select(broker => $"{broker.Host}:{broker.Port}"));
            _partitions = [.. Topics.SelectMany(topic => admin.GetMetadata(topic, TestTimeout.Full).Topics.Single().Partitions
                .Select(partition => new TopicPartitionOffset(topic, partition.PartitionId, Offset.Beginning)))];
            Assert.True(_partitions.Count >= Topics.Length);
        }

        public string Servers { get; }

        public void Dispose() => _cluster.Dispose();

        public List<ConsumeResult<string, byte[]>> Consume(int count)
        {
            var config = new ConsumerConfig { BootstrapServers = Servers, GroupId = "test", FetchWaitMaxMs = 10 };
            using var consumer = new ConsumerBuilder<string, byte[]>(config).Build();
            consumer.Assign(_partitions);
            List<ConsumeResult<string, byte[]>> rows = [];
            var clock = Stopwatch.StartNew();
            while (rows.Count < count && clock.Elapsed < TestTimeout.Full)
            {
                if (consumer.Consume(100) is { } row)
                {
                    rows.Add(row);
                }
            }

            // Rows that should not be there get a moment to arrive.
            while (consumer.Consume(300) is { } more)
            {
                rows.Add(more);
            }

            return rows;
        }
    }
}
