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
    private static readonly TimeSpan BarInterval = TimeSpan.FromMilliseconds(250);

    private readonly StatusLine? _bar = options.Quiet ? null : StatusLine.Current;
    private readonly TextWriter _out = options.Quiet ? TextWriter.Null : Console.Out;
    private readonly CancellationTokenSource _abandon = new();
    private readonly Dictionary<string, int> _partitions = [];

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
        if (options.UnknownVariables.Count > 0)
        {
            LogUnknownVariables(string.Join(", ", options.UnknownVariables));
        }

        var file = options.File is null ? null : new FileRows(options, time);
        if (file is not null && await FailureAsync(file.CheckAsync(stoppingToken)) is { } bad)
        {
            FailWith(file, bad);
            return;
        }

        var topics = file is null ? options.Topics : file.Summary?.Topics ?? [];
        var producer = CreateProducer();
        await EnsureTopicsAsync(producer, topics, stoppingToken);
        status.Topics = [.. topics.Select(topic => new TopicStatus(topic))];
        var rows = file is null ? MadeUp(out var ending) : FromFile(file, out ending);

        var began = time.GetTimestamp();
        using var finished = new CancellationTokenSource();
        var total = options.Count > 0 ? options.Count : options.Loop ? 0 : file?.Summary?.Rows ?? 0;
        var progress = PrintProgressAsync(new(total), began, finished.Token);
        Exception? failure = null;
        try
        {
            failure = await FailureAsync(SendAsync(producer, rows, stoppingToken));
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

        PrintSummary(time.GetElapsedTime(began), ending);
        if (file is not null)
        {
            FailWith(file, failure);
        }
    }

    private IAsyncEnumerable<Outgoing> MadeUp(out string ending)
    {
        var seed = options.Seed ?? Random.Shared.Next();
        var start = options.Start
            ?? (options.Seed is null ? time.GetUtcNow() : new DateTimeOffset(2025, 1, 1, 0, 0, 0, TimeSpan.Zero));
        status.Start = start;
        status.Seed = seed;
        var count = options.Count == 0 ? "until stopped" : Invariant($"{options.Count:N0} rows");
        PrintHeading("", Invariant($"{count}, {options.WindowSeconds} s windows from {Iso(start)}, seed {seed}"));
        ending = $"The same rows again: --seed {seed} --start {Iso(start)} and the same other options";
        return new RowGenerator(options, seed, start).Rows().Select(Outgoing.Of).ToAsyncEnumerable();
    }

    private IAsyncEnumerable<Outgoing> FromFile(FileRows file, out string ending)
    {
        var count = options.Count > 0 ? Invariant($"{options.Count:N0} rows") : file.Summary is { } summary ? Invariant($"{summary.Rows:N0} rows") : "until its end";
        PrintHeading($"{file.Name} ", options.Loop ? $"{count}, again and again" : count);
        ending = "";
        return file.ReadAsync();
    }

    /// <summary>What is wrong with the file; null if nothing is.</summary>
    private static async Task<Exception?> FailureAsync(Task task)
    {
        try
        {
            await task;
            return null;
        }
        catch (Exception exception) when (exception is BadFileException or BadLineException)
        {
            return exception;
        }
    }

    private void FailWith(FileRows file, Exception? failure)
    {
        if (failure is not null)
        {
            status.ExitCode = SimulatorStatus.Unusable;
            LogBadFile(file.Name, failure.Message, status.Sent);
        }
        else if (file.IsIncomplete)
        {
            LogIncomplete(file.Name);
        }
    }

    // Resolved here and not injected: a property unknown to the client library is the user's error, not a crash at startup.
    private IProducer<byte[]?, byte[]> CreateProducer()
    {
        try
        {
            return services.GetRequiredService<IProducer<byte[]?, byte[]>>();
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

    private async Task EnsureTopicsAsync(IProducer<byte[]?, byte[]> producer, IReadOnlyList<string> topics, CancellationToken stoppingToken)
    {
        using var admin = new DependentAdminClientBuilder(producer.Handle).Build();
        await UntilAsync("Kafka", () =>
        {
            var metadata = admin.GetMetadata(MetadataTimeout);
            Note(metadata);
            return metadata.Brokers.Count > 0;
        }, stoppingToken);

        var missing = topics.Where(topic => !_partitions.ContainsKey(topic)).ToArray();
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
            {
                Note(admin.GetMetadata(topic, MetadataTimeout));
                return _partitions.ContainsKey(topic);
            }, stoppingToken);
        }

        void Note(Metadata metadata)
        {
            foreach (var topic in metadata.Topics.Where(topic => !topic.Error.IsError && topic.Partitions.Count > 0))
            {
                _partitions[topic.Topic] = topic.Partitions.Count;
            }
        }
    }

    private async Task UntilAsync(string what, Func<bool> isThere, CancellationToken stoppingToken)
    {
        var reminder = new Reminder(time);
        var pause = TimeSpan.FromSeconds(0.5);
        while (true)
        {
            stoppingToken.ThrowIfCancellationRequested();
            var (code, reason) = (ErrorCode.NoError, "not there yet");
            try
            {
                if (isThere())
                {
                    return;
                }
            }
            catch (KafkaException failure)
            {
                (code, reason) = (failure.Error.Code, kafkaErrors.Last ?? failure.Error.Reason);
            }

            if (reminder.IsDue(code))
            {
                LogWaiting(what, options.BootstrapServers, reason, reminder.SoFar);
            }

            await Task.Delay(pause, time, stoppingToken);
            pause = TimeSpan.FromSeconds(Math.Min(4, pause.TotalSeconds * 2));
        }
    }

    private async Task SendAsync(IProducer<byte[]?, byte[]> producer, IAsyncEnumerable<Outgoing> rows, CancellationToken stoppingToken)
    {
        var targets = status.Topics.ToDictionary(topic => topic.Topic, topic => new Target(topic));
        var pacer = new Pacer(options.Rate, time);
        var due = 0;
        await foreach (var row in rows.WithCancellation(stoppingToken))
        {
            if (due == 0)
            {
                due = await pacer.NextAsync(stoppingToken);
            }

            due--;
            if (!targets.TryGetValue(row.Topic, out var target))
            {
                // Only a file that was not read before has topics that nobody knows of.
                await EnsureTopicsAsync(producer, [row.Topic], stoppingToken);
                targets[row.Topic] = target = new(new(row.Topic));
                status.Topics = [.. status.Topics, target.Status];
            }

            if (!await SendAsync(producer, row, target, stoppingToken))
            {
                return;
            }
        }
    }

    /// <returns>False if the client can send nothing more.</returns>
    private async ValueTask<bool> SendAsync(
        IProducer<byte[]?, byte[]> producer, Outgoing row, Target target, CancellationToken stoppingToken)
    {
        var message = new Message<byte[]?, byte[]> { Key = row.Key, Value = row.Value, Headers = row.Headers };
        var onReport = Source.HasListeners() ? Trace(row, target, message) : target.OnReport;

        // A row that came from a partition goes back there, if there still is one of this number.
        var to = new TopicPartition(row.Topic, row.Partition.Value < _partitions[row.Topic] ? row.Partition : Partition.Any);
        while (true)
        {
            try
            {
                producer.Produce(to, message, onReport);
                target.Status.OnSent(row.IsMalformed);
                return true;
            }
            catch (ProduceException<byte[]?, byte[]> failure) when (failure.Error.Code == ErrorCode.Local_QueueFull)
            {
                // The broker is slower than the generator: wait, never drop.
                await Task.Delay(TimeSpan.FromMilliseconds(10), time, stoppingToken);
            }
            catch (ProduceException<byte[]?, byte[]> failure)
            {
                kafkaErrors.Last = failure.Error.Reason;
                target.Status.OnSent(row.IsMalformed);
                onReport(new DeliveryReport<byte[]?, byte[]> { Error = failure.Error });
                return failure.Error.Code != ErrorCode.Local_Fatal;
            }
        }
    }

    // One span per row, from sending to acknowledgement; each starts its own trace.
    private static Action<DeliveryReport<byte[]?, byte[]>> Trace(Outgoing row, Target target, Message<byte[]?, byte[]> message)
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
            activity.SetTag("messaging.kafka.message.key", row.Key is null ? null : Encoding.UTF8.GetString(row.Key));
            activity.SetTag("messaging.message.body.size", row.Value.Length);
        }

        // A row of a file may come with the trace in which it was sent before.
        message.Headers ??= [];
        Replace("traceparent", activity.Id);
        Replace("tracestate", activity.TraceStateString);

        return report =>
        {
            if (report.Error.IsError)
            {
                activity.SetStatus(ActivityStatusCode.Error, report.Error.Reason);
            }

            activity.Stop();
            target.OnReport(report);
        };

        void Replace(string name, string? value)
        {
            message.Headers.Remove(name);
            if (!string.IsNullOrEmpty(value))
            {
                message.Headers.Add(name, Encoding.ASCII.GetBytes(value));
            }
        }
    }

    // Gives up ten seconds after the stop, or after ten seconds without a delivery report.
    private void Flush(IProducer<byte[]?, byte[]> producer, CancellationToken stoppingToken)
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

    private void PrintHeading(string what, string extent)
    {
        var rate = options.Rate == 0 ? "as many rows a second as it takes" : Invariant($"{options.Rate:#,0.###} rows/s");
        _out.WriteLine($"Sending {what}to {options.BootstrapServers}: {rate}, {extent}. Ctrl-C stops.");
    }

    private async Task PrintProgressAsync(Progress progress, long began, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(_bar is null ? ProgressInterval : BarInterval, time);
        var (lastSent, lastAcknowledged, lastTime, rate, trouble) = (0L, 0L, began, 0.0, "");
        try
        {
            while (await timer.WaitForNextTickAsync(cancellationToken))
            {
                var (sent, acknowledged, now) = (status.Sent, status.Acknowledged, time.GetTimestamp());
                if (_bar is null || lastTime == began || time.GetElapsedTime(lastTime, now) >= ProgressInterval)
                {
                    rate = (sent - lastSent) / time.GetElapsedTime(lastTime, now).TotalSeconds;
                    trouble = sent > acknowledged && acknowledged == lastAcknowledged ? $"  {kafkaErrors.Last}" : "";
                    (lastSent, lastAcknowledged, lastTime) = (sent, acknowledged, now);
                }

                var elapsed = time.GetElapsedTime(began, now);
                if (_bar is null)
                {
                    _out.WriteLine(progress.Line(elapsed, sent, acknowledged, rate, status.Errors) + trouble);
                }
                else
                {
                    _bar.Show(progress.Bar(elapsed, sent, acknowledged, rate, status.Errors) + trouble);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The summary has the rest.
            _bar?.Show("");
        }
    }

    private void PrintSummary(TimeSpan elapsed, string ending)
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
        text.Append(CultureInfo.InvariantCulture, $"{elapsed.TotalSeconds:N1} s, {rate:N0} rows/s, {100 * malformed:N1}% malformed, ");
        text.Append(CultureInfo.InvariantCulture, $"{status.Sent - status.Acknowledged:N0} not acknowledged");
        text.AppendLine(status.Seed is { } seed ? Invariant($", seed {seed}") : "");
        if (ending.Length > 0)
        {
            text.AppendLine(ending);
        }

        _out.Write(text);
    }

    private static string Iso(DateTimeOffset time) =>
        time.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss.FFF'Z'", CultureInfo.InvariantCulture);

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    [LoggerMessage(1, LogLevel.Warning, "Waiting for {What} at {Servers}: {Reason}{SoFar}")]
    private partial void LogWaiting(string what, string servers, string reason, string soFar);

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

    [LoggerMessage(7, LogLevel.Error, "{File} cannot be sent: {Error}. Rows sent: {Sent}")]
    private partial void LogBadFile(string file, string error, long sent);

    [LoggerMessage(8, LogLevel.Warning, "{File} does not have all dead letters: those further back were not exported")]
    private partial void LogIncomplete(string file);

    [LoggerMessage(9, LogLevel.Warning, "Environment variables that look like options, but are not, have no effect: {Variables}")]
    private partial void LogUnknownVariables(string variables);

    // Per-topic objects, created once.
    private sealed class Target(TopicStatus status)
    {
        public TopicStatus Status { get; } = status;

        public string SpanName { get; } = $"send {status.Topic}";

        public Action<DeliveryReport<byte[]?, byte[]>> OnReport { get; } = report => status.OnReport(!report.Error.IsError);
    }

    private sealed class KafkaSetupException(string message, Exception inner) : Exception(message, inner);
}

/// <summary>The Kafka client's last error; the client reports it on a different thread from the one that needs it.</summary>
internal sealed class KafkaErrors
{
    private volatile string? _last;

    public string? Last { get => _last; set => _last = value; }
}
