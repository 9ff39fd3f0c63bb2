using System.Diagnostics;
using System.Net;
using System.Text.Json;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Tests.Faults;

/// <summary>Samples offsets and Redis repeatedly while faults happen; at the end, each sample is checked against the log.</summary>
internal sealed class Watch : IAsyncDisposable
{
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(100);

    private readonly CancellationTokenSource _enough = new();
    private readonly IConsumer<byte[]?, byte[]?> _consumer;
    private readonly IConnectionMultiplexer _redis;
    private readonly Ledger _ledger;
    private readonly Func<IReadOnlyList<TopicPartition>> _partitions;
    private readonly TopicPartition _letters;
    private readonly List<Sample> _samples = [];
    private readonly Task _looking;

    /// <param name="kafka">Kafka's address.</param>
    /// <param name="group">The service's consumer group.</param>
    /// <param name="redis">A Redis client of its own.</param>
    /// <param name="ledger">The rows sent.</param>
    /// <param name="partitions">The partitions that exist so far.</param>
    /// <param name="letters">The dead-letter topic, which has one partition.</param>
    public Watch(string kafka, string group, IConnectionMultiplexer redis, Ledger ledger, Func<IReadOnlyList<TopicPartition>> partitions, string letters)
    {
        (_redis, _ledger, _partitions, _letters) = (redis, ledger, partitions, new(letters, 0));
        _consumer = new ConsumerBuilder<byte[]?, byte[]?>(
            new ConsumerConfig { BootstrapServers = kafka, GroupId = group, EnableAutoCommit = false, ReconnectBackoffMs = 20, ReconnectBackoffMaxMs = 200 })
            .SetLogHandler((_, _) => { }).SetErrorHandler((_, _) => { }).Build();
        _looking = Task.Run(LookAsync);
    }

    /// <summary>The samples taken successfully, in order.</summary>
    public IReadOnlyList<Sample> Samples
    {
        get
        {
            lock (_samples)
            {
                return [.. _samples];
            }
        }
    }

    /// <summary>Stops sampling.</summary>
    public async Task StopAsync()
    {
        await _enough.CancelAsync();
        await _looking;
    }

    /// <summary>Takes one sample.</summary>
    public async Task<Sample> LookOnceAsync()
    {
        var started = Stopwatch.GetTimestamp();
        var epoch = await Epoch.ReadAsync(_redis);
        var offsets = new Dictionary<TopicPartition, long>();
        foreach (var offset in _consumer.Committed(_partitions(), TimeSpan.FromSeconds(2)).Where(offset => offset.Offset.Value >= 0))
        {
            offsets[offset.TopicPartition] = offset.Offset.Value;
        }

        var letters = _consumer.QueryWatermarkOffsets(_letters, TimeSpan.FromSeconds(2)).High.Value;
        var redis = await RedisState.ReadAsync(_redis);
        return new(started, Stopwatch.GetTimestamp(), epoch, offsets, letters, redis, _ledger.Last);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _enough.Dispose();
        _consumer.Dispose();
    }

    private async Task LookAsync()
    {
        while (!_enough.IsCancellationRequested)
        {
            try
            {
                var sample = await LookOnceAsync();
                lock (_samples)
                {
                    _samples.Add(sample);
                }
            }
            catch (Exception exception) when (exception is KafkaException or RedisException or TimeoutException or InvalidOperationException)
            {
                // Kafka or Redis is down at the moment; the next sample will do.
            }

            await Task.Delay(Pace, _enough.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}

/// <summary>Queries one service over HTTP repeatedly: each response must be quick, and contain only what was sent.</summary>
internal sealed class HttpProbe : IDisposable
{
    private static readonly string[] Routes = ["/metrics/event/latest", "/readyz", "/metrics/performance/latest", "/healthz", "/sessions/active"];

    // A response may take a second. Because the machine may be busy, it is a finding only if several responses in a row are
    // slow, or if one takes about as long as a command to a hung Redis.
    private static readonly TimeSpan Slow = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Hung = TimeSpan.FromSeconds(4);
    private const int MaxSlowInARow = 5;

    private readonly HttpClient _http;
    private readonly Func<bool> _mayAnswer;
    private readonly Func<bool> _hasExited;
    private readonly Findings _findings;
    private readonly CancellationTokenSource _enough = new();
    private readonly List<(string Route, string Body)> _answers = [];
    private readonly Task _asking;
    private int _slow;

    /// <param name="http">A client of the service.</param>
    /// <param name="mayAnswer">False while the process is frozen or ended.</param>
    /// <param name="hasExited">True once the process has exited: whoever answers then has taken over its port.</param>
    /// <param name="findings">Receives slow and wrong responses.</param>
    public HttpProbe(HttpClient http, Func<bool> mayAnswer, Func<bool> hasExited, Findings findings)
    {
        (_http, _mayAnswer, _hasExited, _findings) = (http, mayAnswer, hasExited, findings);
        _asking = Task.Run(AskAsync);
    }

    /// <summary>Stops querying, and returns the responses with status 200.</summary>
    public async Task<IReadOnlyList<(string Route, string Body)>> StopAsync()
    {
        await _enough.CancelAsync();
        await _asking;
        return _answers;
    }

    public void Dispose() => _enough.Dispose();

    /// <summary>The values in a response, as fields of a hash.</summary>
    public static IEnumerable<(FieldKey Field, string Value)> Values(string route, string body)
    {
        if (route == "/sessions/active")
        {
            return JsonElement.Parse(body).GetProperty("sessions").EnumerateArray().SelectMany(session => session.EnumerateObject()
                .Select(field => (new FieldKey($"session:{session.GetProperty("session_id").GetString()}", field.Name), field.Value.ToString())));
        }

        var type = route.Contains("event", StringComparison.Ordinal) ? "event" : "perf";
        var window = JsonElement.Parse(body);
        return window.TryGetProperty("window_start", out var start)
            ? window.EnumerateObject().Where(field => field.Name != "window_start")
                .Select(field => (new FieldKey($"metrics:{type}:{start.GetInt64()}", field.Name), field.Value.GetRawText()))
            : [];
    }

    private async Task AskAsync()
    {
        for (var n = 0; !_enough.IsCancellationRequested; n++)
        {
            var route = Routes[n % Routes.Length];
            try
            {
                // Measures how busy the machine is: this route needs neither Redis nor Kafka.
                var alive = Stopwatch.GetTimestamp();
                using (await _http.GetAsync("/alive", _enough.Token))
                {
                }

                var started = Stopwatch.GetTimestamp();
                using var answer = await _http.GetAsync(route, _enough.Token);
                var body = await answer.Content.ReadAsStringAsync(_enough.Token);
                if (_hasExited())
                {
                    return;
                }

                if (answer.StatusCode == HttpStatusCode.OK)
                {
                    _answers.Add((route, body));
                }
                else if (answer.StatusCode != HttpStatusCode.ServiceUnavailable)
                {
                    _findings.Add(Breach.Unavailable, $"{route} → {(int)answer.StatusCode} {body}");
                }

                // A process's first responses also wait for the JIT compiler.
                if (n >= 2 * Routes.Length && _mayAnswer())
                {
                    var busy = 3 * Stopwatch.GetElapsedTime(alive, started);
                    var took = Stopwatch.GetElapsedTime(started);
                    _slow = took > Slow + busy ? _slow + 1 : 0;
                    if (took > Hung + busy || _slow == MaxSlowInARow)
                    {
                        _findings.Add(Breach.Unavailable, FormattableString.Invariant($"{route} took {took.TotalSeconds:F1} s, the {_slow}th slow answer in a row"));
                    }
                }
            }
            catch (Exception exception) when (exception is HttpRequestException or OperationCanceledException or IOException)
            {
                if (_mayAnswer() && !_enough.IsCancellationRequested)
                {
                    _findings.Add(Breach.Unavailable, $"{route}: {exception.Message}");
                }
            }

            await Task.Delay(TimeSpan.FromMilliseconds(200), _enough.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
