using System.Diagnostics;
using System.Net;
using System.Text.Json;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Tests.Faults;

/// <summary>Looks at offsets, Redis and HTTP again and again while faults happen; each look is held against the log at the end.</summary>
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
    /// <param name="redis">A client of Redis of its own.</param>
    /// <param name="ledger">What is sent.</param>
    /// <param name="partitions">The partitions that there are by now.</param>
    /// <param name="letters">The dead-letter topic, of one partition.</param>
    public Watch(string kafka, string group, IConnectionMultiplexer redis, Ledger ledger, Func<IReadOnlyList<TopicPartition>> partitions, string letters)
    {
        (_redis, _ledger, _partitions, _letters) = (redis, ledger, partitions, new(letters, 0));
        _consumer = new ConsumerBuilder<byte[]?, byte[]?>(
            new ConsumerConfig { BootstrapServers = kafka, GroupId = group, EnableAutoCommit = false, ReconnectBackoffMs = 20, ReconnectBackoffMaxMs = 200 })
            .SetLogHandler((_, _) => { }).SetErrorHandler((_, _) => { }).Build();
        _looking = Task.Run(LookAsync);
    }

    /// <summary>The looks that succeeded, in order.</summary>
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

    /// <summary>Ends the looking.</summary>
    public async Task StopAsync()
    {
        await _enough.CancelAsync();
        await _looking;
    }

    /// <summary>Looks once.</summary>
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
                // Kafka or Redis is away just now; the next look tells.
            }

            await Task.Delay(Pace, _enough.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}

/// <summary>Asks one service over HTTP again and again: each answer has to be quick, and of what was sent.</summary>
internal sealed class HttpProbe : IDisposable
{
    private static readonly string[] Routes = ["/metrics/event/latest", "/readyz", "/metrics/performance/latest", "/healthz", "/sessions/active"];

    // An answer has a second. This machine may be busy with other things: so it is only a finding when one answer after the
    // other is slow, or when one takes about as long as a command to a Redis that hangs.
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
    /// <param name="hasExited">True once the process is gone: whoever answers then has got its port.</param>
    /// <param name="findings">Where answers go that take too long.</param>
    public HttpProbe(HttpClient http, Func<bool> mayAnswer, Func<bool> hasExited, Findings findings)
    {
        (_http, _mayAnswer, _hasExited, _findings) = (http, mayAnswer, hasExited, findings);
        _asking = Task.Run(AskAsync);
    }

    /// <summary>Ends the asking, and gives the answers with status 200.</summary>
    public async Task<IReadOnlyList<(string Route, string Body)>> StopAsync()
    {
        await _enough.CancelAsync();
        await _asking;
        return _answers;
    }

    public void Dispose() => _enough.Dispose();

    /// <summary>The values that an answer has, as fields of a hash.</summary>
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
                // How busy the machine is: this answer needs neither Redis nor Kafka.
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
                    _findings.Add(Breach.Away, $"{route} → {(int)answer.StatusCode} {body}");
                }

                // The first answers of a process also wait for its code to be compiled.
                if (n >= 2 * Routes.Length && _mayAnswer())
                {
                    var busy = 3 * Stopwatch.GetElapsedTime(alive, started);
                    var took = Stopwatch.GetElapsedTime(started);
                    _slow = took > Slow + busy ? _slow + 1 : 0;
                    if (took > Hung + busy || _slow == MaxSlowInARow)
                    {
                        _findings.Add(Breach.Away, FormattableString.Invariant($"{route} took {took.TotalSeconds:F1} s, the {_slow}th slow answer in a row"));
                    }
                }
            }
            catch (Exception exception) when (exception is HttpRequestException or OperationCanceledException or IOException)
            {
                if (_mayAnswer() && !_enough.IsCancellationRequested)
                {
                    _findings.Add(Breach.Away, $"{route}: {exception.Message}");
                }
            }

            await Task.Delay(TimeSpan.FromMilliseconds(200), _enough.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
