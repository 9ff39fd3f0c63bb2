using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Cache.Embedded;

namespace Cache.Tests.Telemetry;

/// <summary>
/// Service, simulator and sample as Aspire runs them: processes configured only by their environment. Their telemetry is read where
/// the dashboard would read it.
/// </summary>
public sealed class AspireProcessTests
{
    // Spans are exported in batches: a flush may arrive before its last commands.
    private static readonly HashSet<string> FlushCommands = ["GET", "HMSET", "EXPIRE", "ZADD", "ZRANGE"];

    [Fact]
    public async Task Row_IsOneTraceUpToItsReceipt_AndItsFlushLinksToIt()
    {
        await using var redis = await RedisServer.StartAsync(AspireStack.Password);
        await using var stack = await AspireStack.StartAsync();
        var service = await stack.StartServiceAsync(redis.ConnectionString);
        var simulator = stack.StartSimulator(("simulator_count", "40"));
        await EventsArriveAsync(stack);

        var (send, receive, flush, commands) = await AspireStack.EventuallyAsync(() => RowOf(stack.Telemetry), "a row with all its spans");
        TestContext.Current.TestOutputHelper?.WriteLine(Describe([send, receive, flush, .. commands]));

        // The simulator's span: its own trace, from produce to acknowledgement.
        Assert.Equal(("simulator", "Cache.Producer.Simulator", "producer", ""), (send.Service, send.Scope, send.Kind, send.ParentId));
        AssertAttributes(send, ("messaging.system", "kafka"), ("messaging.operation.type", "send"), ("messaging.destination.name", "event_metrics"));

        // The service's span: in the same trace, with the row's position.
        Assert.Equal(("cache", "Cache.Service", "consumer", "receive event_metrics"), (receive.Service, receive.Scope, receive.Kind, receive.Name));
        Assert.Equal((send.TraceId, send.SpanId), (receive.TraceId, receive.ParentId));
        AssertAttributes(receive, ("messaging.system", "kafka"), ("messaging.operation.type", "receive"),
            ("messaging.destination.name", "event_metrics"), ("messaging.consumer.group.name", "cache-service"));
        Assert.Contains("messaging.destination.partition.id", receive.Attributes.Keys);
        Assert.Contains("messaging.kafka.offset", receive.Attributes.Keys);

        // The flush: its own trace, because it belongs to many rows.
        Assert.Equal(("cache", "flush", ""), (flush.Service, flush.Name, flush.ParentId));
        Assert.NotEqual(send.TraceId, flush.TraceId);
        Assert.Contains((receive.TraceId, receive.SpanId), flush.Links);
        Assert.InRange(int.Parse(flush.Attributes["messaging.batch.message_count"]), flush.Links.Count, int.MaxValue);
        Assert.InRange(flush.Links.Count, 1, 32);
        Assert.Contains("cache.batch.windows", flush.Attributes.Keys);

        // Redis: the commands of the flush, each a child span.
        Assert.Superset(FlushCommands, commands.Select(command => command.Name).ToHashSet());
        Assert.All(commands, command =>
        {
            Assert.Equal((flush.TraceId, "client"), (command.TraceId, command.Kind));
            Assert.Equal("OpenTelemetry.Instrumentation.StackExchangeRedis", command.Scope);
            AssertAttributes(command, ("server.address", "127.0.0.1"), ("server.port", $"{redis.Port}"));

            // Aspire's integration uses the older name.
            Assert.Equal("redis", command.Attributes.GetValueOrDefault("db.system.name") ?? command.Attributes["db.system"]);
        });

        // Every request carried the key that the dashboard requires.
        Assert.All(stack.Telemetry.Requests, request => Assert.EndsWith(' ' + AspireStack.ApiKey, request));
        Assert.Equal(0, await simulator.StopAsync());
        var stopping = Stopwatch.StartNew();
        Assert.Equal(0, await service.StopAsync());
        TestContext.Current.TestOutputHelper?.WriteLine($"The service stopped within {stopping.Elapsed.TotalSeconds:F2} s");
    }

    [Fact]
    public async Task Read_OfTheSample_IsOneTrace_UpToTheService()
    {
        await using var redis = await EmbeddedRedis.StartAsync();
        await using var stack = await AspireStack.StartAsync();
        await stack.StartServiceAsync(redis.ConnectionString);
        var sample = stack.StartSample();
        await AspireStack.EventuallyAsync(() => Task.FromResult(sample.Output.Contains("Reading the latest windows (start)", StringComparison.Ordinal)), "a resync");
        stack.StartSimulator();
        await AspireStack.EventuallyAsync(() => Task.FromResult(sample.Output.Contains("is complete", StringComparison.Ordinal)), "a complete window");

        foreach (var (name, route) in new[] { ("resync", "/types"), ("window", "/metrics/event/windows"), ("window", "/metrics/event/summary") })
        {
            var (outer, client, server) = await AspireStack.EventuallyAsync(() => ReadOf(stack.Telemetry, name, route), $"a read of {route} with all its spans");
            Assert.Equal(("sample", "Cache.Sample", ""), (outer.Service, outer.Scope, outer.ParentId));
            Assert.Equal(("sample", "System.Net.Http", outer.TraceId), (client.Service, client.Scope, client.TraceId));
            Assert.Equal(("cache", outer.TraceId), (server.Service, server.TraceId));
        }

        Assert.Equal(0, await sample.StopAsync());
    }

    [Fact]
    public async Task Probes_AndCommandsWithoutAParentSpan_AreNotTraced()
    {
        await using var redis = await RedisServer.StartAsync(AspireStack.Password);
        await using var stack = await AspireStack.StartAsync();

        // As Aspire sets it in development: otherwise, commands of probes would not be sampled anyway.
        await stack.StartServiceAsync(redis.ConnectionString, ("OTEL_TRACES_SAMPLER", "always_on"));
        foreach (var route in Enumerable.Repeat((string[])["/healthz", "/readyz", "/health", "/alive", "/metrics"], 10).SelectMany(routes => routes))
        {
            using var answer = await stack.Http.GetAsync(new Uri(route, UriKind.Relative));
        }

        // Commands arrive in chronological order: those of the probes would arrive together with those of a flush.
        stack.StartSimulator(("simulator_count", "40"));
        await EventsArriveAsync(stack);
        await AspireStack.EventuallyAsync(() => stack.Telemetry.Spans.FirstOrDefault(span => span.Name == "ZADD"), "a span of Redis");

        var spans = stack.Telemetry.Spans.ToList();
        var ids = spans.Select(span => span.SpanId).ToHashSet();
        Assert.DoesNotContain(spans, span => span.Service == "cache" && span.Kind == "server" && span.Attributes.GetValueOrDefault("url.path") is "/healthz" or "/readyz");
        Assert.All(spans.Where(span => span.Scope == "OpenTelemetry.Instrumentation.StackExchangeRedis"), command => Assert.Contains(command.ParentId, ids));
    }

    [Fact]
    public async Task MetricsAndLogs_ArriveUnderTheNamesFromAspire()
    {
        await using var redis = await RedisServer.StartAsync(AspireStack.Password);
        await using var stack = await AspireStack.StartAsync();
        await stack.StartServiceAsync(redis.ConnectionString);
        stack.StartSimulator(("simulator_count", "40"));
        await EventsArriveAsync(stack);

        string[] own = ["cache.kafka.records", "cache.redis.batch.latency", "cache.queue.current.size", "cache.kafka.lag.rows"];
        await AspireStack.EventuallyAsync(() => Task.FromResult(own.All(name =>
            stack.Telemetry.Metrics.Any(metric => (metric.Service, metric.Scope, metric.Name) == ("cache", "Cache.Service", name)))), "metrics");
        Assert.Contains(stack.Telemetry.Metrics, metric => metric is { Name: "cache.redis.batch.latency", Unit: "s" });
        await AspireStack.EventuallyAsync(
            () => stack.Telemetry.Logs.FirstOrDefault(log => log.Service == "cache" && log.Body.Contains("partitions assigned", StringComparison.Ordinal)),
            "the service's log");
    }

    [Fact]
    public async Task FailedFlush_LogsUnderItsTrace_AndItsSpanHasTheError()
    {
        await using var redis = await RedisServer.StartAsync(AspireStack.Password);
        await using var stack = await AspireStack.StartAsync();
        await stack.StartServiceAsync(redis.ConnectionString);
        stack.StartSimulator();
        await EventsArriveAsync(stack);

        redis.Kill();
        var log = await AspireStack.EventuallyAsync(
            () => stack.Telemetry.Logs.FirstOrDefault(log => log.Body.Contains("Redis did not accept a batch", StringComparison.Ordinal)), "a failure in the log");
        Assert.Equal(("cache", "Cache.Service.Flush.FlushWorker", "Warning"), (log.Service, log.Category, log.Severity));
        Assert.NotEqual("", log.TraceId);

        // The span ends when the batch is written at last.
        await redis.RestartAsync();
        var flush = await AspireStack.EventuallyAsync(() => stack.Telemetry.Spans.FirstOrDefault(span => span.SpanId == log.SpanId), "the span of the flush");
        Assert.Equal(("flush", log.TraceId), (flush.Name, flush.TraceId));
        Assert.Contains("exception", flush.Events);
        await AspireStack.EventuallyAsync(
            () => stack.Telemetry.Logs.FirstOrDefault(line => line.TraceId == log.TraceId && line.Body.Contains("accepted the batch", StringComparison.Ordinal)),
            "the recovery in the log");
    }

    [Fact]
    public async Task Traces_WhenSampledOut_AreNotSent_AndRowsStillFlow()
    {
        await using var redis = await RedisServer.StartAsync(AspireStack.Password);
        await using var stack = await AspireStack.StartAsync();
        var service = await stack.StartServiceAsync(redis.ConnectionString, ("OTEL_TRACES_SAMPLER", "always_off"));
        var simulator = stack.StartSimulator(("simulator_count", "40"), ("OTEL_TRACES_SAMPLER", "always_off"));
        await EventsArriveAsync(stack);

        // Pending telemetry is sent on shutdown.
        Assert.Equal(0, await simulator.StopAsync());
        Assert.Equal(0, await service.StopAsync());
        Assert.Contains(stack.Telemetry.Metrics, metric => metric is { Service: "cache", Name: "cache.kafka.records" });
        Assert.Empty(stack.Telemetry.Spans);
    }

    /// <summary>As Aspire's own: a developer certificate for localhost, or one of a company's authority.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Redis_OverTls_IsTrustedThroughSslCertFile(bool authority)
    {
        RedisServer.Require();
        var folder = Directory.CreateTempSubdirectory("tls-");
        try
        {
            var trust = WriteCertificates(folder.FullName, authority);
            await using var redis = await RedisServer.StartAsync(AspireStack.Password,
                "--tls-cert-file", Path.Combine(folder.FullName, "server.pem"), "--tls-key-file", Path.Combine(folder.FullName, "server.key"),
                "--tls-ca-cert-file", trust, "--tls-auth-clients", "no");
            await using var stack = await AspireStack.StartAsync();

            // OTLP over HTTP here, over gRPC in the other tests.
            (string, string)[] telemetry =
                [("OTEL_EXPORTER_OTLP_ENDPOINT", stack.Telemetry.HttpEndpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
            await stack.StartServiceAsync(
                $"localhost:{redis.Port},password={AspireStack.Password},ssl=true", [("SSL_CERT_FILE", trust), .. telemetry]);
            stack.StartSimulator([("simulator_count", "40"), .. telemetry]);
            await EventsArriveAsync(stack);
            await AspireStack.EventuallyAsync(() => stack.Telemetry.Spans.FirstOrDefault(span => span.Name == "HMSET"), "a span of Redis");
            Assert.DoesNotContain(stack.Telemetry.Logs, log => log.Category == "Polly");
            Assert.Contains(stack.Telemetry.Requests, request => request.StartsWith("/v1/metrics ", StringComparison.Ordinal));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static Task EventsArriveAsync(AspireStack stack) => AspireStack.EventuallyAsync(
        async () => JsonElement.Parse(await stack.Http.GetStringAsync("/metrics/event/latest")).TryGetProperty("window_start", out _), "an event window");

    /// <summary>The spans of a read: the sample's own, that of its HTTP client, and the service's.</summary>
    private static Tuple<OtlpSpan, OtlpSpan, OtlpSpan>? ReadOf(OtlpReceiver telemetry, string name, string route) => (
        from server in telemetry.Spans
        where server.Kind == "server" && server.Attributes.GetValueOrDefault("url.path") == route
        from client in telemetry.Spans
        where client.Kind == "client" && client.SpanId == server.ParentId
        from outer in telemetry.Spans
        where outer.Name == name && outer.SpanId == client.ParentId
        select Tuple.Create(outer, client, server)).FirstOrDefault();

    /// <summary>The spans of a row that was written, once all of them have arrived.</summary>
    private static Tuple<OtlpSpan, OtlpSpan, OtlpSpan, OtlpSpan[]>? RowOf(OtlpReceiver telemetry)
    {
        var spans = telemetry.Spans.ToLookup(span => span.SpanId);
        var children = telemetry.Spans.ToLookup(span => span.ParentId);
        foreach (var flush in telemetry.Spans.Where(span => span.Name == "flush" && span.Attributes["cache.batch.windows"] != "0"))
        {
            foreach (var link in flush.Links)
            {
                if (spans[link.SpanId].FirstOrDefault() is { Name: "receive event_metrics" } receive
                    && spans[receive.ParentId].FirstOrDefault() is { } send && FlushCommands.IsSubsetOf(children[flush.SpanId].Select(child => child.Name)))
                {
                    return Tuple.Create(send, receive, flush, children[flush.SpanId].ToArray());
                }
            }
        }

        return null;
    }

    private static void AssertAttributes(OtlpSpan span, params (string Key, string Value)[] expected) =>
        Assert.All(expected, attribute => Assert.Equal(attribute.Value, span.Attributes[attribute.Key]));

    private static string Describe(IEnumerable<OtlpSpan> spans) => string.Join(Environment.NewLine, spans.Select(span =>
        $"{span.Service} {span.Name} ({span.Kind}) trace {span.TraceId} span {span.SpanId} parent {span.ParentId} "
        + $"links {string.Join(' ', span.Links)} {string.Join(' ', span.Attributes.Select(attribute => $"{attribute.Key}={attribute.Value}"))}"));

    /// <returns>The file to trust: the certificate itself, or its authority.</returns>
    private static string WriteCertificates(string folder, bool authority)
    {
        var now = DateTimeOffset.UtcNow;
        using var serverKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var server = new CertificateRequest("CN=localhost", serverKey, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        server.CertificateExtensions.Add(names.Build());
        server.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        File.WriteAllText(Path.Combine(folder, "server.key"), serverKey.ExportPkcs8PrivateKeyPem());
        if (!authority)
        {
            using var self = server.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
            File.WriteAllText(Path.Combine(folder, "server.pem"), self.ExportCertificatePem());
            return Path.Combine(folder, "server.pem");
        }

        using var authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Cache tests", authorityKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var root = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
        using var issued = server.Create(root, now.AddDays(-1), now.AddHours(12), [1, 2, 3, 4]);
        File.WriteAllText(Path.Combine(folder, "server.pem"), issued.ExportCertificatePem());
        File.WriteAllText(Path.Combine(folder, "authority.pem"), root.ExportCertificatePem());
        return Path.Combine(folder, "authority.pem");
    }
}
