using System.Diagnostics;
using System.Net;
using System.Text;
using Cache.Embedded;
using Cache.Metrics;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;

namespace Cache.Tests.Faults;

/// <summary>The result of a seed.</summary>
internal sealed record CampaignResult(int Seed, int Faults, int Kills, int Rows, int Looks, TimeSpan Took, Findings Findings, string Log);

/// <summary>
/// One seed: a load of rows, a schedule of faults, and the promises checked against Kafka and Redis, both during the run and at
/// its end. The seed alone decides settings, rows and the order of faults; how they coincide depends on the machine.
/// </summary>
internal sealed class CampaignRun : IAsyncDisposable
{
    private const string Group = "campaign";
    private const string DeadLetterTopic = "cache_dead_letters";

    private const int ManyRows = 3000;
    private static readonly TimeSpan SessionTimeout = TimeSpan.FromSeconds(3);

    private readonly int _seed;
    private readonly Random _random;
    private readonly StringBuilder _log = new();
    private readonly long _started = Stopwatch.GetTimestamp();
    private readonly MetricType _drawn;
    private readonly List<string> _consumed;
    private readonly List<string> _topics = [];
    private readonly List<CampaignMember> _ended = [];
    private readonly RowMix _mix;
    private readonly Ledger _ledger;
    private readonly RowMaker _rows;
    private readonly Dictionary<string, string> _settings = [];
    private readonly IReadOnlyList<CampaignStep>? _steps;
    private readonly Func<Task<RedisGroup>> _redis;
    private KafkaSide? _kafka;

    private CampaignRun(int seed, IReadOnlyList<CampaignStep>? steps, Func<Task<RedisGroup>> redis)
    {
        (_seed, _steps, _redis) = (seed, steps, redis);
        _random = new Random(seed);

        // With a small retention, whatever Redis lost is soon trimmed anyway, and goes unnoticed: odd seeds retain everything.
        var few = 5 + _random.Next(15);
        _ledger = new Ledger(retention: seed % 2 == 1 ? 200 : few);
        _mix = new RowMix
        {
            Partitions = 1 + _random.Next(3),
            Dimensions = _random.Next(10) == 0 ? 50 : 1 + _random.Next(4),
            RowsAWindow = 20 + _random.Next(60),
            Malformed = _random.Next(3) == 0 ? 0 : 0.1,
            VeryLate = _random.Next(2) == 0 ? 0 : 0.05,
            Repeated = _random.Next(2) == 0 ? 0 : 0.05,
        };
        _drawn = DrawnTypes.Draw(new Random(seed), 0);
        _consumed = [Rows.Events, Rows.Performance, _drawn.Topics[0]];
        _rows = new RowMaker(seed, _mix, _ledger, _drawn);
    }

    public Findings Findings { get; } = new();

    public EmbeddedKafka Broker { get; private set; } = null!;

    public RedisGroup Redis { get; private set; } = null!;

    /// <summary>The running services.</summary>
    public List<CampaignMember> Members { get; } = [];

    public List<Loss> Losses { get; } = [];

    public int Kills { get; set; }

    public IReadOnlyList<string> Topics => _topics;

    public RowMix Mix => _mix;

    public static TimeSpan Session => SessionTimeout;

    /// <summary>Runs a seed to its end.</summary>
    /// <param name="seed">Decides settings, rows, and the faults if none are given.</param>
    /// <param name="steps">The faults; null to draw them.</param>
    /// <param name="redis">Starts Redis; one server by default.</param>
    public static async Task<CampaignResult> RunAsync(int seed, IReadOnlyList<CampaignStep>? steps = null, Func<Task<RedisGroup>>? redis = null)
    {
        await using var run = new CampaignRun(seed, steps, redis ?? RedisGroup.StartOneAsync);
        var faults = 0;
        var looks = 0;
        try
        {
            (faults, looks) = await run.RunAsync();
        }
        catch (Exception exception)
        {
            run.Note(exception.ToString());
            run.Findings.Add(Breach.Unavailable, exception.ToString());
        }

        run.Members.Concat(run._ended).ToList().ForEach(member => run.Note($"--- {member.Name}\n{member.Process.Output}{member.Process.Errors}"));
        return new(seed, faults, run.Kills, (int)run._ledger.Last, looks, Stopwatch.GetElapsedTime(run._started), run.Findings, run._log.ToString());
    }

    /// <summary>Writes a line to the seed's log.</summary>
    public void Note(string line)
    {
        lock (_log)
        {
            _log.AppendLine(FormattableString.Invariant($"{Stopwatch.GetElapsedTime(_started).TotalSeconds,7:F3} {line}"));
        }
    }

    /// <summary>Starts another service.</summary>
    public async Task<CampaignMember> StartMemberAsync()
    {
        var number = Members.Count + _ended.Count + 1;
        var process = await ServiceProcess.StartAsync(_settings);
        var member = new CampaignMember($"service {number}", process, Findings);
        Members.Add(member);
        Note($"{member.Name} listens");
        return member;
    }

    /// <summary>Removes a service from the running ones: it has ended, or is about to.</summary>
    public void Take(CampaignMember member)
    {
        member.Ended = true;
        Members.Remove(member);
        _ended.Add(member);
    }

    /// <summary>Performs an action that makes Redis lose data.</summary>
    public async Task LoseAsync(Func<Task> loss)
    {
        var started = Stopwatch.GetTimestamp();
        try
        {
            await loss();
        }
        finally
        {
            Losses.Add(new(started, Stopwatch.GetTimestamp()));
        }
    }

    /// <summary>The group's committed offsets, of all topics.</summary>
    public List<long> Committed() => [.. _topics.SelectMany(_kafka!.Committed)];

    /// <summary>Creates those of the service's topics that do not exist yet.</summary>
    public void CreateTopics() => _consumed.ForEach(CreateTopic);

    private void CreateTopic(string name)
    {
        if (!_topics.Contains(name))
        {
            Broker.CreateTopic(name, _mix.Partitions);
            lock (_topics)
            {
                _topics.Add(name);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var member in Members.Concat(_ended))
        {
            await member.DisposeAsync();
        }

        _kafka?.Dispose();
        if (Redis is not null)
        {
            await Redis.DisposeAsync();
        }

        if (Broker is not null)
        {
            await Broker.DisposeAsync();
        }
    }

    private async Task<(int Faults, int Looks)> RunAsync()
    {
        var schedule = _steps?.ToList() ?? CampaignFault.Schedule(_random, _seed);
        Note($"seed {_seed}: {_mix}, retention {_ledger.Retention}");
        schedule.ForEach(step => Note($"schedule: after {step.After.TotalMilliseconds} ms {step.Fault.Name}{(step.Waits ? "" : ", going on meanwhile")}"));
        await PrepareAsync();
        await using var watch = new Watch(Broker.BootstrapServers, Group, Redis.Admin, _ledger, Partitions, DeadLetterTopic);
        await using var load = Meanwhile.Start(LoadAsync);
        if (_steps is not null || _random.Next(2) == 0)
        {
            // Otherwise, the faults may start before the first row is through.
            await Eventually.HoldsAsync(() => Assert.Contains(watch.Samples, sample => sample.Committed.Values.Sum() > 0));
        }

        var running = new List<Task>();
        var turns = new Dictionary<FaultOf, SemaphoreSlim> { [FaultOf.Service] = new(1), [FaultOf.Redis] = new(1), [FaultOf.Kafka] = new(1) };
        try
        {
            foreach (var step in schedule)
            {
                await Task.Delay(step.After);
                var fault = InjectAsync(step);
                running.Add(fault);
                if (step.Waits)
                {
                    await fault;
                }
            }
        }
        finally
        {
            // If one fails, the others must still end before the things they use are disposed.
            await Task.WhenAll(running);
        }

        await SettleAsync(load);
        await JudgeAsync(watch);
        return (schedule.Count, watch.Samples.Count);

        async Task InjectAsync(CampaignStep step)
        {
            await turns[step.Fault.Of].WaitAsync();
            try
            {
                Note($"> {step.Fault.Name}");
                await step.Fault.InjectAsync(this, new Random(step.Seed));
                Note($"< {step.Fault.Name}");
            }
            finally
            {
                turns[step.Fault.Of].Release();
            }
        }
    }

    private async Task PrepareAsync()
    {
        Redis = await _redis();
        Broker = await EmbeddedKafka.StartAsync();
        Broker.CreateTopic(DeadLetterTopic, partitions: 1);
        if (_random.Next(2) == 0)
        {
            _consumed.Add(Rows.Sessions);
        }

        // The last topic may be created only later.
        _consumed.Take(_consumed.Count - (_random.Next(4) == 0 ? 1 : 0)).ToList().ForEach(CreateTopic);

        _kafka = new KafkaSide(Broker.BootstrapServers, Group);

        foreach (var (key, value) in new (string, object)[]
        {
            ("ConnectionStrings:kafka", Broker.BootstrapServers),
            ("ConnectionStrings:redis", Redis.ConnectionString),
            ("cache_kafka_topics", string.Join(',', _consumed)),
            ("metric_types", $"[{DrawnTypes.Json(_drawn)}]"),
            ("cache_kafka_consumer_group", Group),
            ("cache_consume_from", "earliest"),
            ("window_retention_count", _ledger.Retention),

            // Rows one by one in a quarter of the seeds, whatever their retention.
            ("kafka_consume_batches", _seed / 2 % 4 != 0),
            ("kafka_commit_interval_ms", _random.Next(2) == 0 ? 100 : 400),
            ("kafka_commit_batch_size", _random.Next(2) == 0 ? 10 : 100),
            ("redis_write_batch_size", 1 + _random.Next(20)),
            ("redis_queue_max_size", _random.Next(3) == 0 ? 20 : 1000),
            ("Kafka:session.timeout.ms", SessionTimeout.TotalMilliseconds),
            ("Kafka:heartbeat.interval.ms", 300),
            ("Kafka:fetch.wait.max.ms", 40),
            ("Kafka:reconnect.backoff.ms", 20),
            ("Kafka:reconnect.backoff.max.ms", 200),
            ("Kafka:topic.metadata.refresh.interval.ms", 1000),
        })
        {
            _settings[key] = FormattableString.Invariant($"{value}");
        }

        Note(string.Join(' ', _settings.Select(setting => $"{setting.Key}={setting.Value}")));
        await StartMemberAsync();
    }

    private IReadOnlyList<TopicPartition> Partitions()
    {
        lock (_topics)
        {
            return [.. _topics.SelectMany(topic => Enumerable.Range(0, _mix.Partitions).Select(partition => new TopicPartition(topic, partition)))];
        }
    }

    /// <summary>Sends rows in bursts until it is cancelled; waits while Kafka does not accept them.</summary>
    private async Task LoadAsync(CancellationToken enough)
    {
        var pace = new Random(_seed);
        while (!enough.IsCancellationRequested)
        {
            string[] topics;
            lock (_topics)
            {
                topics = [.. _topics];
            }

            // On a busy machine a seed takes longer, but need not write proportionally more.
            var few = _ledger.Last > ManyRows;
            await SendAsync(Enumerable.Range(0, 1 + pace.Next(few ? 4 : 40)).Select(_ => _rows.Next(topics)).ToList());
            await Task.Delay(TimeSpan.FromMilliseconds(pace.Next(10, 100)), CancellationToken.None);
        }
    }

    private Task<List<TopicPartitionOffset>> SendAsync(IEnumerable<LedgerRow> rows) => _kafka!.SendAsync(rows.Select(row => (row.To, Ledger.Message(row))));

    /// <summary>Ends all faults, sends the last rows, and waits until everything is processed.</summary>
    private async Task SettleAsync(Meanwhile<bool> load)
    {
        foreach (var request in Enum.GetValues<KafkaRequest>())
        {
            Broker.ClearRequestErrors(request);
        }

        CreateTopics();
        await load.StopAsync();
        await SendAsync(_rows.Last(_topics));
        Note($"settling, {_ledger.Last} rows sent");
        await Eventually.HoldsAsync(async () =>
        {
            foreach (var topic in _topics)
            {
                Assert.Equal(_kafka!.Ends(topic), _kafka.Committed(topic));
            }

            // A rebuild rewinds partitions before it lists them in the epoch.
            var state = await RedisState.ReadAsync(Redis.Admin);
            Assert.All(Partitions(), partition => Assert.True(state.Epoch.Names($"{partition.Topic}/{partition.Partition.Value}"), state.Epoch.Value));
            foreach (var member in Members)
            {
                using var ready = await member.Process.Http.GetAsync("/readyz");
                Assert.True(
                    ready.StatusCode == HttpStatusCode.OK || (await ready.Content.ReadAsStringAsync()).Contains("no partitions assigned", StringComparison.Ordinal),
                    $"{member.Name} is not ready");
            }
        }, TimeSpan.FromSeconds(90));
        Note("settled");
    }

    private async Task JudgeAsync(Watch watch)
    {
        var log = _ledger.Read(_kafka!.ReadAll([.. _topics]));
        var there = log.Partitions.Values.SelectMany(rows => rows).Select(row => row.Row.Number).Distinct().Count();
        if (there != _ledger.Last)
        {
            throw new InvalidOperationException($"{_ledger.Last} rows were sent, and the topics hold {there}: the campaign itself is wrong.");
        }

        Note("the log is read");

        // The offsets show that everything has been written. It must also stay, if some service still has something to write.
        Checker.CheckEnd(log, await RedisState.ReadAsync(Redis.Admin), Findings);
        await Task.Delay(TimeSpan.FromMilliseconds(300));
        if (Findings.All.Count == 0)
        {
            Checker.CheckEnd(log, await RedisState.ReadAsync(Redis.Admin), Findings);
        }

        Note("the end is checked");
        await watch.StopAsync();
        Note("watch stopped");
        var letters = _kafka!.ReadAll(DeadLetterTopic);
        Checker.CheckLetters(log, letters, Findings);
        Checker.CheckHistory(log, watch.Samples, Losses, letters, Findings);
        Note("history checked");
        foreach (var member in Members.ToList())
        {
            if (member.Process.HasExited)
            {
                Findings.Add(Breach.Unavailable, $"{member.Name} has ended by itself");
            }
        }

        foreach (var (route, body) in (await Task.WhenAll(Members.Concat(_ended).Select(member => member.Probe.StopAsync()))).SelectMany(answers => answers))
        {
            foreach (var (field, value) in route.StartsWith("/metrics", StringComparison.Ordinal) || route.StartsWith("/sessions", StringComparison.Ordinal) ? HttpProbe.Values(route, body) : [])
            {
                if (!log.Fields.TryGetValue(field, out var history) || history.OffsetOf(value) < 0)
                {
                    Findings.Add(Breach.Invented, $"{route} says {field} = {value}, which no row says");
                }
            }
        }

        Note($"{watch.Samples.Count} looks, {letters.Count} dead letters");
        if (Findings.All.Count > 0)
        {
            Note($"epoch: {(await RedisState.ReadAsync(Redis.Admin)).Epoch}");
            Note(Findings.ToString());
            foreach (var (sample, n) in watch.Samples.Select((sample, n) => (sample, n)))
            {
                Note(FormattableString.Invariant(
                    $"look {n} at {Stopwatch.GetElapsedTime(_started, sample.Started).TotalSeconds:F3} to {Stopwatch.GetElapsedTime(_started, sample.Ended).TotalSeconds:F3}: committed {string.Join(' ', sample.Committed.Select(offset => $"{offset.Key.Topic}/{offset.Key.Partition.Value}:{offset.Value}"))}, epoch {sample.Redis.Epoch}"));
            }
        }
    }
}

/// <summary>A service of the campaign, with its HTTP probe.</summary>
internal sealed class CampaignMember : IAsyncDisposable
{
    private static readonly TimeSpan AfterThaw = TimeSpan.FromSeconds(5);

    private bool _frozen;
    private long _thawedAt;

    public CampaignMember(string name, ServiceProcess process, Findings findings)
    {
        (Name, Process) = (name, process);
        Probe = new HttpProbe(process.Http, MayAnswer, () => process.HasExited, findings);
    }

    public string Name { get; }

    public ServiceProcess Process { get; }

    public HttpProbe Probe { get; }

    /// <summary>Whether it was ended on purpose.</summary>
    public bool Ended { get; set; }

    public bool Frozen => _frozen;

    public void Freeze()
    {
        _frozen = true;
        Process.Freeze();
    }

    public void Thaw()
    {
        Process.Thaw();
        _thawedAt = Stopwatch.GetTimestamp();
        _frozen = false;
    }

    public async ValueTask DisposeAsync()
    {
        Ended = true;
        await Probe.StopAsync();
        Probe.Dispose();
        await Process.DisposeAsync();
    }

    private bool MayAnswer() => !Ended && !_frozen && (_thawedAt == 0 || Stopwatch.GetElapsedTime(_thawedAt) > AfterThaw);
}
