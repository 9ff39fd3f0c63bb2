using System.Globalization;
using System.Text;
using Cache.Metrics;
using Cache.Service.Options;
using StackExchange.Redis;

namespace Cache.Tests.Simulation;

/// <summary>
/// One schedule: its seed decides the settings, the rows, the faults and who takes the next step. A few processes of the
/// service share the brokers and Redis; after some hundred steps all faults end, and everything has to settle.
/// </summary>
internal sealed class Schedule
{
    private static readonly string[] UsualTopics = ["event_metrics", "performance_metrics", "session_metrics"];
    private static readonly TimeSpan HostTimeout = TimeSpan.FromSeconds(20);

    private readonly CacheOptions _options;
    private readonly Promises _promises;
    private readonly PlantedBug? _bug;
    private readonly List<SimulatedProcess> _processes = [];
    private readonly List<Action> _faults = [];
    // Some hours before the clock begins.
    private const long FirstWindow = 1_735_600_000_000 - (1_735_600_000_000 % 60_000);

    private readonly int _restlessSteps;
    private readonly int _maxSteps;
    private readonly int _maxRounds;
    private readonly int _maxProcesses;
    private int _steps;
    private int _started;
    private int _newestWindow = 10;
    private bool _isCalm;

    /// <param name="seed">What decides everything.</param>
    /// <param name="bug">The bug to plant; null for none.</param>
    /// <param name="trace">Where to write what happens; null for nowhere.</param>
    /// <param name="fleet">The numbers of processes and partitions; null for a few, drawn as everything else.</param>
    private Schedule(int seed, PlantedBug? bug, List<string>? trace, (int Processes, int Partitions)? fleet = null)
    {
        (_bug, _maxProcesses) = (bug, fleet?.Processes ?? 3);

        // Each has timers of its own, and each round of settling goes on to the next timer only.
        (_maxSteps, _maxRounds) = (20_000 * (fleet?.Processes ?? 1), 500 * (fleet?.Processes ?? 1));

        // Half of the schedules each. Most planted bugs were caught by rows one by one.
        HasBatches = bug is null && seed % 2 == 0;
        Random = new Random(seed);
        // Many short schedules find as much per second as a few long ones, but some bugs need a long one.
        _restlessSteps = Random.Next(4) == 0 ? Random.Next(80, 240) : Random.Next(20, 80);
        var drawn = DrawnTypes.Draw(Random, 0);
        _options = new CacheOptions
        {
            ConsumeFrom = ConsumeFrom.Earliest,
            WindowRetentionCount = Random.Next(2, 5),
            QueueMaxSize = Random.Next(1, 12),
            WriteBatchSize = Random.Next(1, 5),
            CommitBatchSize = Random.Next(1, 10),
            CommitIntervalMs = 1000,

            // Longer than any schedule: expiry of active sessions is not modelled.
            ActiveSessionTtlSeconds = 86_400,
            MetricTypes = [.. MetricType.Defaults, drawn],
            Topics = ["event_metrics", "performance_metrics", .. drawn.Topics, "session_metrics"],
        };
        List<PartitionLog> logs = [new("event_metrics", 0)];
        PartitionLog[] more = [new("event_metrics", 1), Random.Next(2) == 0 ? new("performance_metrics", 0) : new(drawn.Topics[0], 0), new("session_metrics", 0)];
        logs.AddRange(more.Where(_ => Random.Next(2) == 0));
        if (fleet is var (_, partitions))
        {
            // With time for each partition to be taken, moved and lost.
            logs = [.. Enumerable.Range(0, partitions).Select(number => new PartitionLog(UsualTopics[number % UsualTopics.Length], number / UsualTopics.Length))];
            _restlessSteps = partitions * 4;
        }

        _promises = new Promises(_options.WindowRetentionCount) { Trace = trace, Logs = logs };
        Redis = _promises.Redis = new SimulatedRedis(_promises);
        Kafka = new SimulatedKafka(_promises, Clock, Random, TimeSpan.FromSeconds(Random.Next(3) == 0 ? 45 : 10));
        trace?.Add($"retention {_options.WindowRetentionCount}, queue {_options.QueueMaxSize}, write batch {_options.WriteBatchSize}, "
            + $"commit batch {_options.CommitBatchSize}, session {Kafka.SessionTimeout.TotalSeconds} s, {_restlessSteps} steps");

        // Each schedule has only some of the faults: some bugs need a few of them, without interference from the others.
        Action[] faults =
        [
            LoseAnswers, LoseAnswers, Refuse, LeaveRedis, Redis.Empty, RestartRedis, Redis.Save, Kafka.Reassign, Join, Kill, Stop, Freeze, CutOff, Silence, BeUnsure, HaveADefect,
        ];
        _faults.AddRange(fleet is null ? faults.Where(_ => Random.Next(5) < 2) : faults);
    }

    public SimulatedClock Clock { get; } = new();

    /// <summary>Whether the processes take rows in batches.</summary>
    public bool HasBatches { get; }

    public SimulatedRedis Redis { get; }

    public SimulatedKafka Kafka { get; }

    public Random Random { get; }

    /// <summary>Runs a schedule.</summary>
    /// <returns>The broken promise, and how it was broken; null if all were kept.</returns>
    public static string? Run(int seed, PlantedBug? bug = null, List<string>? trace = null)
    {
        var schedule = new Schedule(seed, bug, trace);
        SimulatedThreads.Outside(schedule.Run);
        return schedule._promises.Broken;
    }

    /// <summary>Runs a schedule of many processes and partitions, with every fault.</summary>
    /// <returns>The broken promise, and how it was broken; null if all were kept. And how many steps it took, for how many rows.</returns>
    public static (string? Broken, int Steps, int Rows) RunFleet(int seed, int processes, int partitions)
    {
        var schedule = new Schedule(seed, bug: null, trace: null, (processes, partitions));
        SimulatedThreads.Outside(() =>
        {
            for (var started = 1; started < processes; started++)
            {
                schedule.Start();
            }

            schedule.Run();
        });
        return (schedule._promises.Broken, schedule._steps, schedule._promises.NextNumber - 1);
    }

    /// <summary>The row that wrote a value in Redis.</summary>
    public SimulatedRow? RowOf(string field, string value) => _promises.RowOf(field, value);

    /// <summary>Blocks a process's consume thread, while everything else continues.</summary>
    public bool Block(SimulatedProcess process, Task work, TimeSpan timeout)
    {
        var deadline = Clock.Now + timeout;
        process.IsBlocked = true;
        SimulatedThreads.Outside(() =>
        {
            while (_promises.Broken is null && !process.IsDead && (process.IsFrozen || (!work.IsCompleted && Clock.Now < deadline)))
            {
                Step();
            }
        });
        process.IsBlocked = false;
        return _promises.Broken is not null || process.IsDead ? throw new ProcessEndedException() : work.IsCompletedSuccessfully;
    }

    private void Run()
    {
        Start();
        while (_promises.Broken is null && _steps < _restlessSteps)
        {
            Step();
        }

        Settle();

        // One more row per type: windows that a dead process left beyond retention are trimmed by the next write.
        _newestWindow++;
        Kafka.Logs.ToList().ForEach(log => Produce(log, late: 0, rejected: false));
        Settle();
        if (_promises.Broken is null)
        {
            _promises.Settled();
        }
    }

    private void Step()
    {
        if (++_steps >= _restlessSteps)
        {
            Calm();
        }

        if (_steps > _maxSteps)
        {
            _promises.Break("it does not settle");
            return;
        }

        while (!TryStep(Random.Next(100)))
        {
            // The step drawn has nothing to do.
        }

        Look();
    }

    private bool TryStep(int draw) => draw switch
    {
        < 25 => TryTurn(),
        < 58 => TryWork(),
        < 74 => TryRedis(),
        < 82 => TryAnswer(),
        < 90 => Proceed(),
        < 95 => !_isCalm && Produce(),
        _ => !_isCalm && Disturb(),
    };

    /// <summary>A consume loop takes a few turns.</summary>
    private bool TryTurn()
    {
        if (Pick(process => !process.IsFrozen && !process.IsBlocked && !process.IsStopping) is not { } process)
        {
            return false;
        }

        for (var turns = Random.Next(1, 5); turns > 0 && !process.IsDead && !process.IsFrozen; turns--)
        {
            Turn(process);
        }

        return true;
    }

    private void Turn(SimulatedProcess process) => OnConsumeThread(process, process.Turn);

    private void OnConsumeThread(SimulatedProcess process, Action action)
    {
        try
        {
            action();
        }
        catch (ProcessEndedException)
        {
            // Killed in mid-turn.
        }
        catch (Exception exception)
        {
            _promises.Break($"the consume loop of {process} failed: {exception}");
        }
    }

    /// <summary>Runs a continuation that is ready.</summary>
    private bool TryWork()
    {
        if (Pick(process => !process.IsFrozen && process.Threads.Ready > 0) is not { } process)
        {
            return false;
        }

        for (var continuations = Random.Next(1, 6); continuations > 0 && process.Threads.Ready > 0; continuations--)
        {
            process.Threads.RunOne(Random.Next(process.Threads.Ready));
        }

        return true;
    }

    /// <summary>Redis executes some of the commands that it was sent.</summary>
    private bool TryRedis()
    {
        if (Redis.Waiting == 0)
        {
            return false;
        }

        for (var commands = Random.Next(1, 8); commands > 0 && Redis.Waiting > 0; commands--)
        {
            Redis.DoNext();
        }

        return true;
    }

    /// <summary>The brokers answer a request.</summary>
    private bool TryAnswer()
    {
        if (Kafka.Requests.Count == 0)
        {
            return false;
        }

        var request = Kafka.Requests[Random.Next(Kafka.Requests.Count)];
        if (request.From.IsCutOff)
        {
            if (Random.Next(4) == 0)
            {
                Kafka.Resolve(request, does: false, answers: false);
            }
        }
        else
        {
            var isSure = _isCalm || !Kafka.AnswersAreUnsure;
            Kafka.Resolve(request, isSure || Random.Next(4) > 0, isSure || Random.Next(4) > 0);
        }

        return true;
    }

    /// <summary>Time advances, to the next timer or by a little.</summary>
    private bool Proceed()
    {
        AdvanceTo(Random.Next(3) > 0 && Clock.NextDue is { } due && due > Clock.Now ? due : Clock.Now + TimeSpan.FromMilliseconds(Random.Next(1, 300)));
        return true;
    }

    /// <summary>Produces a few more rows.</summary>
    private bool Produce()
    {
        for (var rows = Random.Next(1, 5); rows > 0; rows--)
        {
            Produce(Kafka.Logs[Random.Next(Kafka.Logs.Count)], Random.Next(4) == 0 ? Random.Next(1, 6) : 0, Random.Next(10) == 0);
        }

        return true;
    }

    private void AdvanceTo(TimeSpan time)
    {
        Clock.AdvanceTo(time);
        Kafka.Heartbeats();
    }

    private bool Disturb()
    {
        var odd = _processes.Find(process => process.IsFrozen || process.Consumer.IsCutOff);
        if ((odd is not null || Redis.IsUnavailable) && Random.Next(2) == 0)
        {
            // A fault lasts for a while, then ends.
            switch (Random.Next(3))
            {
                case 0:
                    Silence();
                    break;
                case 1 when odd is not null:
                    Mend(odd);
                    break;
                default:
                    Redis.IsUnavailable = false;
                    break;
            }
        }
        else if (_processes.Count == 0 || _faults.Count == 0)
        {
            Start();
        }
        else
        {
            _faults[Random.Next(_faults.Count)]();
        }

        return true;
    }

    private void LoseAnswers()
    {
        if (Pick(process => Redis.IsWaitedForBy(process.Connection)) is { } process)
        {
            LoseAnswers(process, Random.Next(2) == 0);
        }
    }

    private void LoseAnswers(SimulatedProcess process, bool isTimeout)
    {
        if (!isTimeout)
        {
            process.Connection.Changed();
        }

        Redis.Lose(process.Connection, Random, isTimeout
            ? new RedisTimeoutException(CommandFlags.None, "No answer in time.", CommandStatus.Sent)
            : new RedisConnectionException(ConnectionFailureType.SocketFailure, CommandFlags.None, "The connection broke.", null, CommandStatus.Sent));
    }

    /// <summary>Fails the next few commands, or sometimes every command until all faults end.</summary>
    private void Refuse() => Redis.Refuse(
        Random.Next(4) == 0 ? int.MaxValue : Random.Next(1, 6),
        Random.Next(4) switch
        {
            0 => "OOM command not allowed",
            1 => "LOADING Redis is loading",
            2 => "NOAUTH Authentication required.",
            _ => "ERR what nobody knows",
        });

    private void HaveADefect()
    {
        if (Pick(process => !process.IsStopping) is { } process)
        {
            _promises.Trace?.Add($"{process} has a defect");
            process.Connection.HasDefect = true;
        }
    }

    private void LeaveRedis()
    {
        _promises.Trace?.Add("redis: is down");
        Redis.IsUnavailable = true;
        BreakConnections();
    }

    private void RestartRedis()
    {
        BreakConnections();
        Redis.Restart(empty: Random.Next(2) == 0);
    }

    private void BreakConnections() => _processes.ForEach(process => LoseAnswers(process, isTimeout: false));

    private void Join()
    {
        if (_processes.Count < _maxProcesses)
        {
            Start();
        }
    }

    private void Start()
    {
        var process = new SimulatedProcess($"process{++_started}", this, _options, _bug);
        _promises.Trace?.Add($"{process} starts");
        _processes.Add(process);
    }

    private void Kill()
    {
        if (Pick(_ => true) is { } process)
        {
            Kill(process);
            if (Random.Next(2) == 0)
            {
                Start();
            }
        }
    }

    private void Kill(SimulatedProcess process)
    {
        _promises.Trace?.Add($"{process} is killed");
        process.Kill();
        _processes.Remove(process);
    }

    private void Stop()
    {
        if (Pick(process => process is { IsFrozen: false, IsBlocked: false, IsStopping: false }) is { } process)
        {
            _promises.Trace?.Add($"{process} is told to stop");
            process.StopsUntil = Clock.Now + HostTimeout;
            OnConsumeThread(process, process.Stop);
        }
    }

    private void Freeze()
    {
        // In the middle of something, if possible.
        if ((Pick(process => !process.IsFrozen && process.Threads.Ready > 0) ?? Pick(process => !process.IsFrozen)) is { } process)
        {
            _promises.Trace?.Add($"{process} is frozen");
            process.Freeze(true);
            TakeOver();
        }
    }

    private void CutOff()
    {
        if (Pick(process => !process.Consumer.IsCutOff) is { } process)
        {
            _promises.Trace?.Add($"{process} is cut off from the brokers");
            process.Consumer.IsCutOff = true;
            TakeOver();
        }
    }

    /// <summary>Usually, the silent process's session expires, and another process takes over its partitions.</summary>
    private void TakeOver()
    {
        if (Random.Next(3) > 0)
        {
            Join();
            AdvanceTo(Clock.Now + (Kafka.SessionTimeout * 1.1));
        }
    }

    private void Mend(SimulatedProcess process)
    {
        _promises.Trace?.Add($"{process} goes on");
        process.Freeze(false);
        process.Consumer.IsCutOff = false;
    }

    /// <summary>A long time passes at once.</summary>
    private void Silence()
    {
        var time = Kafka.SessionTimeout * (Random.Next(1, 13) / 10.0);
        _promises.Trace?.Add($"{time.TotalSeconds:0.0} s pass");
        AdvanceTo(Clock.Now + time);
    }

    private void BeUnsure() => Kafka.AnswersAreUnsure = !Kafka.AnswersAreUnsure;

    /// <summary>Ends all faults, and repairs what they broke.</summary>
    private void Calm()
    {
        if (_isCalm)
        {
            return;
        }

        _promises.Trace?.Add("all is mended");
        _isCalm = true;
        Redis.IsUnavailable = false;
        Redis.Refuse(0, "");
        Kafka.AnswersAreUnsure = false;
        _processes.ForEach(Mend);
    }

    /// <summary>Runs everything until nothing is left to do.</summary>
    private void Settle()
    {
        Calm();
        for (var rounds = 0; _promises.Broken is null; rounds++)
        {
            if (!_processes.Exists(process => !process.IsStopping))
            {
                Start();
            }

            // A limited number of turns: a process whose queue is full has to wait.
            for (var turns = 0; turns < 10 && (turns == 0 || _processes.Exists(process => process is { IsStopping: false, Consumer.HasWork: true })); turns++)
            {
                TurnAll();
                RunAll();
            }

            Look();
            if (IsSettled())
            {
                return;
            }

            if (rounds == _maxRounds && _processes.Find(process => process.Connection.HasDefect) is { } defective)
            {
                _promises.Break($"I5: {defective} has a defect, and goes on");
            }
            else if (rounds == _maxRounds && Kafka.Logs.FirstOrDefault(log => log.Committed >= 0 && log.Rows.Skip((int)log.Committed).FirstOrDefault()?.Fits > Fit.Whole) is { } held)
            {
                _promises.Break($"I5: {held} is held up at offset {held.Committed}, by a row that the dead letters will never take");
            }
            else if (rounds == _maxRounds)
            {
                _promises.Break($"it does not settle: {string.Join(", ", Kafka.Logs.Where(log => !IsSettled(log)).Select(log => $"{log} has {log.Rows.Count} rows, {log.Committed} committed, named {log.IsNamed}"))}");
            }

            // The group has to notice its dead members.
            var due = Clock.NextDue is { } next && next > Clock.Now ? next : Clock.Now + TimeSpan.FromMilliseconds(100);
            AdvanceTo(Kafka.Members.Any(member => !member.IsHeard) ? Clock.Now + Kafka.SessionTimeout : due);
        }
    }

    /// <summary>Every consume loop takes what is available to it.</summary>
    private void TurnAll()
    {
        foreach (var process in _processes.ToList())
        {
            for (var turns = 0; turns < 10 && !process.IsStopping && !process.IsDead && (turns == 0 || process.Consumer.HasWork); turns++)
            {
                Turn(process);
            }
        }
    }

    /// <summary>Does everything else that needs no waiting.</summary>
    private void RunAll()
    {
        var any = true;
        while (any)
        {
            any = false;
            foreach (var process in _processes)
            {
                for (; process.Threads.Ready > 0; any = true)
                {
                    process.Threads.RunOne(0);
                }
            }

            for (; Redis.Waiting > 0; any = true)
            {
                Redis.DoNext();
            }

            for (; Kafka.Requests.Count > 0; any = true)
            {
                Kafka.Resolve(Kafka.Requests[0], does: true, answers: true);
            }
        }
    }

    private bool IsSettled() => _processes.TrueForAll(process => !process.IsStopping && !process.Connection.HasDefect)
        && Kafka.Logs.All(IsSettled);

    private static bool IsSettled(PartitionLog log) => log.IsNamed && log.Owner is { } owner && log.Target == owner && log.Committed == log.Rows.Count
        && owner.Positions.GetValueOrDefault(log) == log.Rows.Count;

    /// <summary>Checks the processes: some may have ended, none may have failed.</summary>
    private void Look()
    {
        for (var at = _processes.Count - 1; at >= 0; at--)
        {
            var process = _processes[at];
            if (process.Failure is InvalidCastException && process.Connection.HasDefect)
            {
                // As intended: whoever operates the process restarts it.
                _promises.Trace?.Add($"{process} ends with 1");
                Kill(process);
            }
            else if (process.Failure is { } failure)
            {
                _promises.Break($"a worker of {process} failed: {failure}");
            }
            else if (process.Threads.Strayed is { } strayed)
            {
                _promises.Break(strayed);
            }
            else if (process is { IsStopping: true, HasEnded: true, IsBlocked: false })
            {
                _promises.Trace?.Add($"{process} has ended");
                process.Kill();
                _processes.Remove(process);
            }
            else if (process.IsStopping && Clock.Now > process.StopsUntil)
            {
                Kill(process);
            }
        }
    }

    private SimulatedProcess? Pick(Predicate<SimulatedProcess> which)
    {
        if (_processes.Count == 0)
        {
            return null;
        }

        var first = Random.Next(_processes.Count);
        for (var next = 0; next < _processes.Count; next++)
        {
            var process = _processes[(first + next) % _processes.Count];
            if (which(process))
            {
                return process;
            }
        }

        return null;
    }

    private void Produce(PartitionLog log, int late, bool rejected)
    {
        if (Random.Next(8) == 0)
        {
            _newestWindow++;
        }

        if (Random.Next(12) == 0)
        {
            // A transaction marker.
            log.Rows.Add(null);
        }

        var type = _options.MetricTypes.FirstOrDefault(type => type.Topics.Contains(log.Topic));
        var number = _promises.NextNumber;
        var present = Random.Next(1, 1 << (type?.Measures.Count ?? 2));
        var time = type is null
            ? Clock.GetUtcNow().ToUnixTimeMilliseconds() - (late * 1000)
            : FirstWindow + (Math.Max(1, _newestWindow - late) * 60_000L);
        var name = $"p{log.Partition}{(char)('a' + Random.Next(2))}";
        name = string.Join(type?.Separator, Enumerable.Range(0, type?.DimensionFields.Count ?? 1).Select(part => name + (part == 0 ? "" : $"{part}")));
        var row = new SimulatedRow(number, log, log.Rows.Count, rejected, type, time, name, present, []);
        var fits = rejected ? Random.Next(6) switch { 0 => Fit.WithoutValue, 1 => Fit.NotAtAll, _ => Fit.Whole } : Fit.Whole;
        row = row with { Fits = fits, Value = Encoding.UTF8.GetBytes(rejected ? $"{{\"rejected\":{number}}}" : Json(row)) };
        log.Rows.Add(row);
        _promises.Produced(row);
        _promises.Trace?.Add($"kafka: {row}");
    }

    private static string Json(SimulatedRow row)
    {
        if (row.Type is not { } type)
        {
            return Object([("end_time", Text(row.Time)), ("session_id", $"\"{row.Name}\""), .. Measures("duration", "page_count")]);
        }

        var time = type.TimeUnit switch { TimeUnit.Seconds => row.Time / 1000, TimeUnit.Microseconds => row.Time * 1000, _ => row.Time };
        var parts = row.Name.Split(type.Separator);
        return Object(
        [
            (type.TimeField, Text(time)),
            .. type.DimensionFields.Zip(parts, (field, part) => (field, $"\"{part}\"")),
            .. Measures([.. type.Measures.Select(measure => measure.Field)]),
        ]);

        IEnumerable<(string, string)> Measures(params string[] fields) =>
            fields.Where((_, number) => (row.Present & (1 << number)) != 0).Select(field => (field, Text(row.Number)));

        static string Object(IEnumerable<(string Name, string Json)> properties) =>
            $"{{{string.Join(',', properties.Select(property => $"\"{property.Name}\":{property.Json}"))}}}";

        static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
    }
}

/// <summary>A process was killed while its consume thread was waiting.</summary>
internal sealed class ProcessEndedException : Exception;
