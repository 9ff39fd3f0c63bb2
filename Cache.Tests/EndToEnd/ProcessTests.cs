using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Cache.Embedded;
using Cache.Service.Persist;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.EndToEnd;

/// <summary>The service as a process, as in production: started early, killed, terminated, misconfigured.</summary>
public sealed class ProcessTests : IAsyncDisposable
{
    private RedisServer? _redis;

    public async ValueTask DisposeAsync()
    {
        if (_redis is not null)
        {
            await _redis.DisposeAsync();
        }
    }

    [Fact]
    public async Task StartedBeforeKafkaAndRedis_SaysWhatItWaitsFor_AndServesWhenTheyCome()
    {
        _redis = await RedisServer.StartAsync("s3cret-Pass");
        await using var stack = await InProcessStack.PrepareAsync(_redis.ConnectionString);
        _redis.Kill();
        stack.Broker.BreakAllBrokers();

        await stack.StartProcessAsync();
        await Eventually.HoldsAsync(async () =>
        {
            Assert.Contains($"Waiting for Kafka at {stack.KafkaAddress}", stack.Process.Output);
            Assert.Contains("Waiting for Redis", stack.Process.Output);
            var (status, body, _) = await stack.AskAsync("/readyz");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, status);
            Assert.Contains("does not answer yet", body);
            Assert.Contains("Redis does not answer", body);
        });
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await stack.AskAsync("/healthz")).Status);
        Assert.Equal(HttpStatusCode.OK, (await stack.AskAsync("/alive")).Status);
        Assert.DoesNotContain("s3cret", stack.Process.Output + stack.Process.Errors);

        await _redis.RestartAsync();
        stack.Broker.MendAllBrokers();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1, 2));

        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(1)}},"a.count":1,"a.users":2}""");
        await stack.EventuallyAnswersAsync("/readyz", """{"status":"ready"}""");
    }

    [Fact]
    public async Task TerminatedWhileItWaitsForKafkaAndRedis_EndsWithZero_WithinSeconds()
    {
        _redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(_redis.ConnectionString);
        _redis.Kill();
        stack.Broker.BreakAllBrokers();
        await stack.StartProcessAsync();
        await Eventually.HoldsAsync(() => Assert.Contains("Waiting for Kafka", stack.Process.Output));

        stack.Process.Terminate();

        Assert.Equal(0, await stack.Process.ExitAsync(TimeSpan.FromSeconds(6)));
        Assert.Empty(stack.Process.Errors);
    }

    [Fact]
    public async Task KilledRepeatedly_EndsInTheSameStateAsAnUndisturbedRun()
    {
        _redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(_redis.ConnectionString);
        var model = new Dictionary<(string Type, long Window), Dictionary<string, string>>();
        var rejected = new HashSet<(string Topic, string Partition, string Offset)>();
        await using var load = Meanwhile.Start(SendUntilAsync);

        for (var kill = 0; kill < 4; kill++)
        {
            var before = stack.Kafka.Committed(Events);
            await stack.StartProcessAsync();
            await Eventually.HoldsAsync(() => Assert.NotEqual(before, stack.Kafka.Committed(Events)));
            if (kill == 2)
            {
                // One of the kills hits a rebuild.
                await stack.Database.ExecuteAsync("FLUSHALL");
            }

            await Task.Delay(Random.Shared.Next(150));
            await stack.Process.KillAsync();
        }

        await load.StopAsync();
        await stack.StartProcessAsync();
        await stack.EverythingIsCommittedAsync();

        // A rebuild may still be running: the state is final only after it.
        await Eventually.HoldsAsync(async () =>
        {
            foreach (var ((type, window), fields) in model)
            {
                Assert.Equal(fields, await stack.HashAsync(type, window));
            }
        });
        await stack.EverythingIsCommittedAsync();
        Assert.Equal(
            rejected.Order(),
            stack.Kafka.ReadAll(stack.DeadLetterTopic).Select(letter => (
                KafkaSide.Header(letter, DeadLetters.TopicHeader)!,
                KafkaSide.Header(letter, DeadLetters.PartitionHeader)!,
                KafkaSide.Header(letter, DeadLetters.OffsetHeader)!)).Distinct().Order());

        async Task SendUntilAsync(CancellationToken stop)
        {
            for (var sent = 0; !stop.IsCancellationRequested; sent += 100)
            {
                var rows = new List<(TopicPartition To, Message<byte[]?, byte[]?> Message)>();
                for (var n = sent; n < sent + 100; n++)
                {
                    // A dimension has a fixed partition, as with the stream processor's keys, so that its last value is well-defined.
                    var window = Window((sent / 2000) + (n % 5));
                    var partition = n % 2;
                    if (n % 97 == 0)
                    {
                        rows.Add((new(Events, partition), Message($"bad {n}")));
                    }
                    else if (n % 3 == 0)
                    {
                        var device = $"device-{partition}-{n % 4}";
                        rows.Add((new(Performance, partition), Message(Load(window, device, n, n % 5 == 0 ? n + 0.5 : null))));
                        Expect("perf", window, $"{device}.avg_load_time", n.ToString(CultureInfo.InvariantCulture));
                        if (n % 5 == 0)
                        {
                            Expect("perf", window, $"{device}.p95_load_time", (n + 0.5).ToString(CultureInfo.InvariantCulture));
                        }
                    }
                    else
                    {
                        var type = $"type-{partition}-{n % 6}";
                        rows.Add((new(Events, partition), Message(Event(window, type, n))));
                        Expect("event", window, $"{type}.count", n.ToString(CultureInfo.InvariantCulture));
                    }
                }

                await Eventually.PaceAsync();
                var offsets = await stack.Kafka.SendAsync(rows);
                foreach (var (row, offset) in rows.Zip(offsets).Where(pair => pair.First.Message.Value![0] == 'b'))
                {
                    rejected.Add((offset.Topic, $"{offset.Partition.Value}", $"{offset.Offset.Value}"));
                }
            }
        }

        void Expect(string type, long window, string field, string value)
        {
            if (!model.TryGetValue((type, window), out var fields))
            {
                model[(type, window)] = fields = [];
            }

            fields[field] = value;
        }
    }

    [Fact]
    public async Task TerminatedUnderLoad_EndsWithZeroWithinSeconds_AndTheNextStartContinues()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("window_retention_count", "1000000"));
        await using var load = Meanwhile.Start(async stop =>
        {
            var sent = 0;
            while (!stop.IsCancellationRequested)
            {
                // The embedded Kafka holds 5 MiB per partition: on a busy machine, more would be dropped before it is read.
                if (sent < 50_000)
                {
                    await stack.Kafka.SendAsync(Enumerable.Range(sent, 500).Select(n => (new TopicPartition(Events, n % 2), Message(Event(Window(n), "a", n)))));
                    sent += 500;
                }

                await Eventually.PaceAsync();
            }

            return sent;
        });
        await stack.StartProcessAsync();
        await Eventually.HoldsAsync(() => Assert.True(stack.Kafka.Committed(Events).Sum() > 1000));

        stack.Process.Terminate();
        Assert.Equal(0, await stack.Process.ExitAsync(TimeSpan.FromSeconds(8)));
        Assert.Empty(stack.Process.Errors);
        var committed = stack.Kafka.Committed(Events);
        Assert.Equal(committed.Sum(), await stack.Database.SortedSetLengthAsync("metrics:event:windows"));

        await stack.StartProcessAsync();
        var sent = await load.StopAsync();
        await stack.EverythingIsCommittedAsync();
        await stack.AssertWindowsAsync(sent);
    }

    [Fact]
    public async Task BadConfiguration_EndsWithOne_AndListsEveryErrorOnce()
    {
        await using var service = ServiceProcess.Launch(
        [
            new("urls", "http://127.0.0.1:0"), new("window_retention_count", "none"), new("redis_port", "70000"), new("cache_consume_from", "soon"),
            new("kafka_bootstrap_servers", "nowhere:0"), new("Kafka:group.id", "mine"), new("Kafka:no.such.property", "1"),
        ]);

        Assert.Equal(1, await service.ExitAsync(TimeSpan.FromSeconds(20)));

        string[] keys = ["window_retention_count", "redis_port", "cache_consume_from", "kafka_bootstrap_servers", "Kafka:group.id", "no.such.property"];
        Assert.All(keys, key => Assert.Single(service.Errors.Split('\n'), line => line.Contains(key, StringComparison.Ordinal)));
        Assert.DoesNotContain("   at ", service.Errors);
        Assert.Empty(service.Output);
    }

    [Fact]
    public async Task ConsumeLoopThatFails_EndsTheProcessWithOne()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("Kafka:group.instance.id", "one"));
        await stack.StartProcessAsync();
        await stack.ReadyAsync();

        // Another process claims this one's identity: the client cannot recover.
        stack.Broker.PushRequestErrors(KafkaRequest.Heartbeat, ErrorCode.FencedInstanceId);

        Assert.Equal(1, await stack.Process.ExitAsync(TestTimeout.Full));
        Assert.Contains("The consume loop failed; the service stops with exit code 1", stack.Process.Output);
    }

    [Fact]
    public async Task PortInUse_EndsWithOne_AndSaysWhichAndWhatToDo()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;

        foreach (var (setting, key) in new (KeyValuePair<string, string>[], string)[]
        {
            ([new("urls", $"http://127.0.0.1:{port}")], "--urls"),
            ([new("urls", "http://127.0.0.1:0"), new("health_port", $"{port}")], "health_port"),
            ([new("Kestrel:Endpoints:Other:Url", $"http://127.0.0.1:{port}")], "Kestrel:Endpoints:Other:Url"),
        })
        {
            await using var service = ServiceProcess.Launch([.. stack.Settings, .. setting]);

            Assert.Equal(1, await service.ExitAsync(TimeSpan.FromSeconds(20)));
            var line = Assert.Single(service.Errors.TrimEnd().Split('\n'));
            Assert.StartsWith($"Port {port} is in use: ", line);
            Assert.Contains($"or set {key}", line);
            Assert.DoesNotContain("   at ", service.Output);
        }
    }

    [Fact]
    public async Task AddressOfAnotherMachine_EndsWithOne_AndOneLine()
    {
        await using var stack = await InProcessStack.PrepareAsync();

        // For documentation only, so no machine has it.
        await using var service = ServiceProcess.Launch([.. stack.Settings, new("urls", "http://192.0.2.1:8080")]);

        Assert.Equal(1, await service.ExitAsync(TimeSpan.FromSeconds(20)));
        Assert.StartsWith("The service cannot listen on http://192.0.2.1:8080: this machine does not have that address.", Assert.Single(service.Errors.TrimEnd().Split('\n')));
        Assert.DoesNotContain("   at ", service.Output);
    }

    [Fact]
    public async Task Start_IsLogged_WithSettingsAndLinks_AndReadyOnce()
    {
        const string Secret = "s3cret-0123456789";
        await using var stack = await InProcessStack.PrepareAsync(null, ("window_retention_count", "7"), ("api_keys", Secret));
        await using var service = await ServiceProcess.StartAsync(stack.Settings, ("WINDW_RETENTION_COUNT", "9"), ("REDIS_SERVICE_HOST", "10.0.0.1"));
        await Eventually.HoldsAsync(() => Assert.Contains("Ready after", service.Output));

        // Rows are read and readiness asked again before the end.
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1, 2));
        stack.Broker.BreakAllBrokers();
        await Eventually.HoldsAsync(async () => Assert.Equal(HttpStatusCode.ServiceUnavailable, (await service.Http.GetAsync(new Uri("/readyz", UriKind.Relative))).StatusCode));
        stack.Broker.MendAllBrokers();
        await Eventually.HoldsAsync(async () => Assert.Equal(HttpStatusCode.OK, (await service.Http.GetAsync(new Uri("/readyz", UriKind.Relative))).StatusCode));

        var lines = service.Output.Split('\n');
        Assert.Contains($"Cache {Cache.Service.Telemetry.BuildInfo.Version} starts: Kafka at {stack.KafkaAddress}, group {stack.Settings.First(setting => setting.Key == "cache_kafka_consumer_group").Value}", lines[0]);
        Assert.Contains("window_retention_count=7", lines[1]);
        Assert.Contains("api_keys=(set)", lines[1]);
        Assert.Contains("have no effect: WINDW_RETENTION_COUNT (did you mean WINDOW_RETENTION_COUNT?).", lines[2]);
        Assert.Single(lines, line => line.Contains($"Live page: {service.Http.BaseAddress}", StringComparison.Ordinal));
        Assert.Single(lines, line => line.Contains("Ready after", StringComparison.Ordinal));
        Assert.DoesNotContain(Secret, service.Output + service.Errors);
    }

    [Fact]
    public async Task PrometheusMetrics_CountWhatHappened()
    {
        _redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(_redis.ConnectionString, ("window_retention_count", "2"));
        await stack.StartProcessAsync();
        await stack.ReadyAsync();
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1");
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1), Event(Window(2), "a", 1), Event(Window(3), "a", 1), "no json", "[]");
        await Eventually.HoldsAsync(async () => Assert.True((await PrometheusAsync(stack))["cache_redis_batch_errors_total"] >= 1));
        Assert.Equal(5, (await PrometheusAsync(stack))["cache_kafka_pending_messages"]);

        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "0");
        await stack.Kafka.SendAsync(Performance, 1, Load(Window(1), "tv", 0.5));
        await stack.EverythingIsCommittedAsync();
        await Eventually.HoldsAsync(async () =>
            Assert.Contains($"{Performance}/1", (await stack.Database.StringGetAsync("cache:epoch")).ToString()));
        await stack.Database.ExecuteAsync("FLUSHALL");

        await Eventually.HoldsAsync(async () =>
        {
            var metrics = await PrometheusAsync(stack);
            Assert.Equal(10, metrics["cache_kafka_records_total{topic=\"event_metrics\"}"]);
            Assert.Equal(2, metrics["cache_kafka_records_total{topic=\"performance_metrics\"}"]);
            Assert.Equal(2, metrics["cache_dead_letters_total{reason=\"not_json\"}"]);
            Assert.Equal(2, metrics["cache_dead_letters_total{reason=\"not_an_object\"}"]);
            Assert.True(metrics["cache_windows_trimmed_total{type=\"event\"}"] >= 1);
            Assert.True(metrics["cache_kafka_commit_batches_total"] >= 1);
            Assert.Equal(1, metrics["cache_rebalances_total{kind=\"assigned\"}"]);
            Assert.Equal(4, metrics["cache_rebuilds_total"]);
            Assert.Equal(0, metrics["cache_queue_current_size"]);
            Assert.Equal(0, metrics["cache_kafka_pending_messages"]);
            Assert.Equal(0, metrics["cache_kafka_lag_rows{partition=\"0\",topic=\"event_metrics\"}"]);
            Assert.Equal(0, metrics["cache_kafka_lag_seconds{partition=\"1\",topic=\"performance_metrics\"}"]);
            Assert.Equal(4, metrics["cache_kafka_assigned_partitions"]);
            Assert.True(metrics["cache_redis_batch_latency_seconds_count"] >= 1);
            Assert.True(metrics["cache_batch_rows_count"] >= 1);
            Assert.True(metrics["cache_batch_windows_sum"] >= 4);
        });
    }

    /// <summary>
    /// The service's own metrics in <c>/metrics</c>: name with sorted labels, and value. Exact only for a service in its own
    /// process: within a process, every exporter sees all meters.
    /// </summary>
    private static async Task<Dictionary<string, double>> PrometheusAsync(RunningStack stack)
    {
        var (status, body, _) = await stack.AskAsync("/metrics");
        Assert.Equal(HttpStatusCode.OK, status);
        var metrics = new Dictionary<string, double>();
        foreach (var line in body.Split('\n').Where(line => line.StartsWith("cache_", StringComparison.Ordinal)))
        {
            var parts = line.Split(' ');
            var brace = parts[0].IndexOf('{');
            var name = brace < 0 ? parts[0] : parts[0][..brace];
            var labels = brace < 0
                ? []
                : parts[0][(brace + 1)..^1].Split(',').Where(label => !label.StartsWith("otel_", StringComparison.Ordinal)).Order().ToArray();
            metrics[labels is [] ? name : $"{name}{{{string.Join(',', labels)}}}"] = double.Parse(parts[1], CultureInfo.InvariantCulture);
        }

        return metrics;
    }
}
