using System.Diagnostics;
using System.Globalization;
using System.Text;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Cache.Producer.Simulator;

/// <summary>Waits for Kafka, ensures that the topics exist, sends the rows, waits for acknowledgements, and reports the result.</summary>
internal sealed partial class SimulatorWorker(
    IServiceProvider services,
    SimulatorOptions options,
    SimulatorStatus status,
    KafkaErrors kafkaErrors,
    IHostApplicationLifetime lifetime,
    TimeProvider time,
    ILogger<SimulatorWorker> logger) : BackgroundService
{
    private static readonly ActivitySource Source = new(Program.Name);
    private static readonly TimeSpan MetadataTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan CreateTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan FlushTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromSeconds(2);

    private readonly TextWriter _out = options.Quiet ? TextWriter.Null : Console.Out;
    private readonly CancellationTokenSource _abandon = new();

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await RunAsync(stoppingToken);
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            _out.WriteLine("Stopped before a row was sent.");
        }
        catch (KafkaSetupException failure)
        {
            status.ExitCode = SimulatorStatus.Unusable;
            LogBadSetup(failure.Message);
        }
        catch (Exception failure)
        {
            status.ExitCode = SimulatorStatus.Unusable;
            LogFailed(failure);
        }
        finally
        {
            lifetime.StopApplication();
        }
    }

    // The host's stop timeout may expire before the flush ends. The client must not be disposed during a flush, so the flush is
    // abandoned, and awaited.
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        using var registration = cancellationToken.Register(_abandon.Cancel);
        await base.StopAsync(cancellationToken);
        await (ExecuteTask ?? Task.CompletedTask).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    public override void Dispose()
    {
        _abandon.Dispose();
        base.Dispose();
    }

    private async Task RunAsync(CancellationToken stoppingToken)
    {
        var topics = options.Topics;
        var producer = CreateProducer();
        await EnsureTopicsAsync(producer, topics, stoppingToken);

        var seed = options.Seed ?? Random.Shared.Next();
        var start = options.Start
            ?? (options.Seed is null ? time.GetUtcNow() : new DateTimeOffset(2025, 1, 1, 0, 0, 0, TimeSpan.Zero));
        status.Topics = [.. topics.Select(topic => new TopicStatus(topic))];
        status.Start = start;
        status.Seed = seed;
        PrintHeading(seed, start);

        var began = time.GetTimestamp();
        using var finished = new CancellationTokenSource();
        var progress = PrintProgressAsync(began, finished.Token);
        try
        {
            await SendAsync(producer, new RowGenerator(options, seed, start), stoppingToken);
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            _out.WriteLine("Stopping: waiting for acknowledgements…");
        }

        Flush(producer, stoppingToken);
        await finished.CancelAsync();
        await progress;
        if (status.Acknowledged < status.Sent)
        {
            status.ExitCode = SimulatorStatus.NotAcknowledged;
            LogNotAcknowledged(status.Sent - status.Acknowledged, kafkaErrors.Last ?? "no answer in time");
        }

        PrintSummary(time.GetElapsedTime(began), seed, start);
    }

    // Resolved here and not injected: a property unknown to the client library is the user's error, not a crash at startup.
    private IProducer<string, byte[]> CreateProducer()
    {
        try
        {
            return services.GetRequiredService<IProducer<string, byte[]>>();
        }
        catch (Exception failure) when (failure is InvalidOperationException or ArgumentException or KafkaException)
        {
            // The library's message may repeat a value, and those of the connection string are secret.
            var reason = options.KafkaProperties.Count == 0
                ? failure.Message
                : $"it does not take {string.Join(", ", options.KafkaProperties.Keys)} together, or not with what Kafka: adds";
            throw new KafkaSetupException(reason, failure);
        }
    }

    private async Task EnsureTopicsAsync(IProducer<string, byte[]> producer, IReadOnlyList<string> topics, CancellationToken stoppingToken)
    {
        using var admin = new DependentAdminClientBuilder(producer.Handle).Build();
        HashSet<string> present = [];
        await UntilAsync("Kafka", () =>
        {
            var metadata = admin.GetMetadata(MetadataTimeout);
            present = [.. metadata.Topics.Where(topic => !topic.Error.IsError).Select(topic => topic.Topic)];
            return metadata.Brokers.Count > 0;
        }, stoppingToken);

        var missing = topics.Where(topic => !present.Contains(topic)).ToArray();
        if (missing.Length == 0)
        {
            return;
        }

        _out.WriteLine($"Creating {string.Join(", ", missing)}…");
        try
        {
            var specifications = missing.Select(topic => new TopicSpecification
            {
                Name = topic,
                NumPartitions = options.Partitions,
                ReplicationFactor = -1,
            });
            var timeouts = new CreateTopicsOptions { RequestTimeout = CreateTimeout, OperationTimeout = CreateTimeout };
            await admin.CreateTopicsAsync(specifications, timeouts).WaitAsync(stoppingToken);
            LogCreated(string.Join(", ", missing), options.Partitions);
        }
        catch (CreateTopicsException failure)
        {
            foreach (var result in failure.Results.Where(
                result => result.Error.Code is not (ErrorCode.NoError or ErrorCode.TopicAlreadyExists)))
            {
                LogNotCreated(result.Topic, result.Error.Reason);
            }
        }
        catch (KafkaException failure)
        {
            LogNotCreated(string.Join(", ", missing), failure.Error.Reason);
        }

        // Somebody else may create them, or the metadata request itself may.
        foreach (var topic in missing)
        {
            await UntilAsync($"topic {topic}", () =>
                admin.GetMetadata(topic, MetadataTimeout).Topics.Any(found => found.Topic == topic && found.Partitions.Count > 0),
                stoppingToken);
        }
    }

    private async Task UntilAsync(string what, Func<bool> isThere, CancellationToken stoppingToken)
    {
        var since = time.GetTimestamp();
        var pause = TimeSpan.FromSeconds(0.5);
        while (true)
        {
            stoppingToken.ThrowIfCancellationRequested();
            string reason;
            try
            {
                if (isThere())
                {
                    return;
                }

                reason = "not there yet";
            }
            catch (KafkaException failure)
            {
                reason = kafkaErrors.Last ?? failure.Error.Reason;
            }

            LogWaiting(what, options.BootstrapServers, (int)time.GetElapsedTime(since).TotalSeconds, reason);
            await Task.Delay(pause, time, stoppingToken);
            pause = TimeSpan.FromSeconds(Math.Min(4, pause.TotalSeconds * 2));
        }
    }

    private async Task SendAsync(IProducer<string, byte[]> producer, RowGenerator generator, CancellationToken stoppingToken)
    {
        var targets = status.Topics.ToDictionary(topic => topic.Topic, topic => new Target(topic));
        var pacer = new Pacer(options.Rate, time);
        using var rows = generator.Rows().GetEnumerator();
        while (true)
        {
            for (var due = await pacer.NextAsync(stoppingToken); due > 0; due--)
            {
                if (!rows.MoveNext())
                {
                    return;
                }

                var row = rows.Current;
                if (!await SendAsync(producer, row, targets[row.Topic], stoppingToken))
                {
                    return;
                }
            }
        }
    }

    /// <returns>False if the client can send nothing more.</returns>
    private async ValueTask<bool> SendAsync(
        IProducer<string, byte[]> producer, Row row, Target target, CancellationToken stoppingToken)
    {
        var message = new Message<string, byte[]> { Key = row.Key, Value = row.Value };
        var onReport = Source.HasListeners() ? Trace(row, target, message) : target.OnReport;
        while (true)
        {
            try
            {
                producer.Produce(row.Topic, message, onReport);
                target.Status.OnSent((row.Traits & RowTraits.Malformed) != 0);
                return true;
            }
            catch (ProduceException<string, byte[]> failure) when (failure.Error.Code == ErrorCode.Local_QueueFull)
            {
                // The broker is slower than the generator: wait, never drop.
                await Task.Delay(TimeSpan.FromMilliseconds(10), time, stoppingToken);
            }
            catch (ProduceException<string, byte[]> failure)
            {
                kafkaErrors.Last = failure.Error.Reason;
                target.Status.OnSent((row.Traits & RowTraits.Malformed) != 0);
                onReport(new DeliveryReport<string, byte[]> { Error = failure.Error });
                return failure.Error.Code != ErrorCode.Local_Fatal;
            }
        }
    }

    // One span per row, from sending to acknowledgement; each starts its own trace.
    private static Action<DeliveryReport<string, byte[]>> Trace(Row row, Target target, Message<string, byte[]> message)
    {
        Activity.Current = null;
        var activity = Source.StartActivity(target.SpanName, ActivityKind.Producer);
        Activity.Current = null;
        if (activity is null)
        {
            return target.OnReport;
        }

        if (activity.IsAllDataRequested)
        {
            activity.SetTag("messaging.system", "kafka");
            activity.SetTag("messaging.operation.type", "send");
            activity.SetTag("messaging.operation.name", "send");
            activity.SetTag("messaging.destination.name", row.Topic);
            activity.SetTag("messaging.kafka.message.key", row.Key);
            activity.SetTag("messaging.message.body.size", row.Value.Length);
        }

        message.Headers = new Headers { { "traceparent", Encoding.ASCII.GetBytes(activity.Id!) } };
        if (!string.IsNullOrEmpty(activity.TraceStateString))
        {
            message.Headers.Add("tracestate", Encoding.ASCII.GetBytes(activity.TraceStateString));
        }

        return report =>
        {
            if (report.Error.IsError)
            {
                activity.SetStatus(ActivityStatusCode.Error, report.Error.Reason);
            }

            activity.Stop();
            target.OnReport(report);
        };
    }

    // Gives up ten seconds after the stop, or after ten seconds without a delivery report.
    private void Flush(IProducer<string, byte[]> producer, CancellationToken stoppingToken)
    {
        var since = time.GetTimestamp();
        var settled = -1L;
        var stopping = false;
        while (producer.Flush(TimeSpan.FromMilliseconds(100)) > 0 && !_abandon.IsCancellationRequested)
        {
            var now = status.Acknowledged + status.Errors;
            if ((now > settled && !stopping) || stopping != stoppingToken.IsCancellationRequested)
            {
                since = time.GetTimestamp();
            }

            settled = now;
            stopping = stoppingToken.IsCancellationRequested;
            if (time.GetElapsedTime(since) >= FlushTimeout)
            {
                return;
            }
        }
    }

    private void PrintHeading(int seed, DateTimeOffset start)
    {
        var rate = options.Rate == 0 ? "as many rows a second as it takes" : Invariant($"{options.Rate:#,0.###} rows/s");
        var count = options.Count == 0 ? "until stopped" : Invariant($"{options.Count:N0} rows");
        _out.WriteLine(Invariant($"Sending to {options.BootstrapServers}: {rate}, {count}, ")
            + Invariant($"{options.WindowSeconds} s windows from {Iso(start)}, seed {seed}. Ctrl-C stops."));
    }

    private async Task PrintProgressAsync(long began, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(ProgressInterval, time);
        var (lastSent, lastAcknowledged, lastTime) = (0L, 0L, began);
        try
        {
            while (await timer.WaitForNextTickAsync(cancellationToken))
            {
                var (sent, acknowledged, now) = (status.Sent, status.Acknowledged, time.GetTimestamp());
                var rate = (sent - lastSent) / time.GetElapsedTime(lastTime, now).TotalSeconds;
                var trouble = sent > acknowledged && acknowledged == lastAcknowledged ? $"  {kafkaErrors.Last}" : "";
                var elapsed = time.GetElapsedTime(began).TotalSeconds;
                _out.WriteLine(
                    Invariant($"{elapsed,6:N0} s  {sent,11:N0} sent  {acknowledged,11:N0} acknowledged")
                    + Invariant($"  {rate,9:N0} rows/s  {status.Errors,3:N0} errors{trouble}"));
                (lastSent, lastAcknowledged, lastTime) = (sent, acknowledged, now);
            }
        }
        catch (OperationCanceledException)
        {
            // The summary has the rest.
        }
    }

    private void PrintSummary(TimeSpan elapsed, int seed, DateTimeOffset start)
    {
        var text = new StringBuilder().AppendLine();
        void Line(string name, object sent, object acknowledged, object malformed, object errors) => text.AppendLine(
            CultureInfo.InvariantCulture, $"{name,-20} {sent,13:N0} {acknowledged,13:N0} {malformed,10:N0} {errors,8:N0}");

        Line("topic", "rows", "acknowledged", "malformed", "errors");
        foreach (var topic in status.Topics)
        {
            Line(topic.Topic, topic.Sent, topic.Acknowledged, topic.Malformed, topic.Errors);
        }

        Line("total", status.Sent, status.Acknowledged, status.Malformed, status.Errors);
        var rate = status.Acknowledged / Math.Max(elapsed.TotalSeconds, 0.001);
        var malformed = (double)status.Malformed / Math.Max(1, status.Sent);
        text.Append(CultureInfo.InvariantCulture, $"{elapsed.TotalSeconds:N1} s, {rate:N0} rows/s, {malformed:P1} malformed, ");
        text.AppendLine(CultureInfo.InvariantCulture, $"{status.Sent - status.Acknowledged:N0} not acknowledged, seed {seed}");
        text.Append(CultureInfo.InvariantCulture, $"The same rows again: --seed {seed} --start {Iso(start)}");
        text.AppendLine(" and the same other options");
        _out.Write(text);
    }

    private static string Iso(DateTimeOffset time) =>
        time.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss.FFF'Z'", CultureInfo.InvariantCulture);

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    [LoggerMessage(1, LogLevel.Warning, "Waiting for {What} at {Servers} ({Seconds} s so far): {Reason}")]
    private partial void LogWaiting(string what, string servers, int seconds, string reason);

    [LoggerMessage(2, LogLevel.Information, "Created {Topics} with {Partitions} partitions")]
    private partial void LogCreated(string topics, int partitions);

    [LoggerMessage(3, LogLevel.Information, "The broker did not create {Topics} ({Reason}); asking for them instead")]
    private partial void LogNotCreated(string topics, string reason);

    [LoggerMessage(4, LogLevel.Error,
        "Kafka's client cannot be set up ({Reason}): change ConnectionStrings:kafka or the Kafka: section")]
    private partial void LogBadSetup(string reason);

    [LoggerMessage(5, LogLevel.Error, "{Count} rows were not acknowledged: {Reason}")]
    private partial void LogNotAcknowledged(long count, string reason);

    [LoggerMessage(6, LogLevel.Critical, "The simulator failed")]
    private partial void LogFailed(Exception failure);

    // Per-topic objects, created once.
    private sealed class Target(TopicStatus status)
    {
        public TopicStatus Status { get; } = status;

        public string SpanName { get; } = $"send {status.Topic}";

        public Action<DeliveryReport<string, byte[]>> OnReport { get; } = report => status.OnReport(!report.Error.IsError);
    }

    private sealed class KafkaSetupException(string message, Exception inner) : Exception(message, inner);
}

/// <summary>The Kafka client's last error; the client reports it on a different thread from the one that needs it.</summary>
internal sealed class KafkaErrors
{
    private volatile string? _last;

    public string? Last { get => _last; set => _last = value; }
}
