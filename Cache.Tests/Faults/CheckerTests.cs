using System.Text;
using Confluent.Kafka;

namespace Cache.Tests.Faults;

/// <summary>The checker itself: it finds every kind of breach, and nothing where there is none.</summary>
public sealed class CheckerTests
{
    private static readonly TopicPartition Here = new("event_metrics", 0);

    private readonly Ledger _ledger = new(retention: 2);
    private readonly Findings _findings = new();

    [Fact]
    public void End_ThatMatchesTheLog_HasNoFindings()
    {
        var log = Log(Row(1, window: 1), Row(2, window: 2), Row(3, window: 2), Row(4, window: 3), Bad(5));

        Checker.CheckEnd(log, Redis((2, 3), (3, 4)), _findings);
        Checker.CheckLetters(log, [Letter(4)], _findings);

        Assert.Empty(_findings.All);
    }

    [Fact]
    public void End_WithoutAWindow_IsLost() => Finds(Breach.Lost, Redis((2, 3)), Row(1, window: 1), Row(2, window: 2), Row(3, window: 2), Row(4, window: 3));

    [Fact]
    public void End_WithAnOlderValue_IsRegressed() => Finds(Breach.Regressed, Redis((1, 1)), Row(1, window: 1), Row(2, window: 1));

    [Fact]
    public void End_WithAValueOfNoRow_IsInvented() => Finds(Breach.Invented, Redis((1, 7)), Row(1, window: 1), Row(2, window: 1));

    [Fact]
    public void End_WithATrimmedWindow_IsInvented() =>
        Finds(Breach.Invented, Redis((1, 1), (2, 2), (3, 3)), Row(1, window: 1), Row(2, window: 2), Row(3, window: 3));

    [Fact]
    public void End_WithAHashThatIsOnNoIndex_IsInvented()
    {
        var redis = Redis((2, 2), (3, 3));
        redis.Hashes["metrics:event:1"] = new() { ["a.count"] = "1" };

        Finds(Breach.Invented, redis, Row(1, window: 1), Row(2, window: 2), Row(3, window: 3));
    }

    [Fact]
    public void End_WithAKeyThatNeverExpires_IsInvented()
    {
        var redis = Redis((1, 1));
        redis.Lasting.Add("metrics:event:1");

        Finds(Breach.Invented, redis, Row(1, window: 1));
    }

    [Fact]
    public void Letters_WithoutARejectedRow_AreLost_AndWithAnAcceptedOne_Invented()
    {
        Checker.CheckLetters(Log(Row(1, window: 1), Bad(2)), [Letter(0)], _findings);

        Assert.Equal([Breach.Lost, Breach.Invented], _findings.All.Select(finding => finding.Breach));
    }

    [Fact]
    public void History_AlwaysAheadOfTheCommits_HasNoFindings()
    {
        History([Row(1, window: 1), Row(2, window: 1), Bad(3)], [], [Letter(2)],
            Look(0, Redis()), Look(0, Redis((1, 1))), Look(1, Redis((1, 1))), Look(1, Redis((1, 2))), Look(3, Redis((1, 2)), letters: 1));

        Assert.Empty(_findings.All);
    }

    [Fact]
    public void History_WithACommitBeforeTheRowIsInRedis_IsEarly()
    {
        History([Row(1, window: 1), Row(2, window: 1)], [], [], Look(1, Redis((1, 1))), Look(2, Redis((1, 1))), Look(2, Redis((1, 2))));

        Assert.Equal([Breach.CommittedEarly], _findings.All.Select(finding => finding.Breach));
    }

    [Fact]
    public void History_WithACommitBeforeTheRowIsInTheDeadLetters_IsEarly()
    {
        History([Bad(1)], [], [Letter(0)], Look(0, Redis()), Look(1, Redis(), letters: 0), Look(1, Redis(), letters: 1));

        Assert.Equal([Breach.CommittedEarly], _findings.All.Select(finding => finding.Breach));
    }

    [Fact]
    public void History_WithAValueThatGoesBackForAMoment_IsRegressed()
    {
        History([Row(1, window: 1), Row(2, window: 1)], [], [], Look(1, Redis((1, 1))), Look(2, Redis((1, 2))), Look(2, Redis((1, 1))), Look(2, Redis((1, 2))));

        Assert.Equal([Breach.Regressed], _findings.All.Select(finding => finding.Breach));
    }

    [Fact]
    public void History_WithACommittedOffsetThatGoesBack_IsRegressed()
    {
        History([Row(1, window: 1), Row(2, window: 1)], [], [], Look(2, Redis((1, 2))), Look(1, Redis((1, 2))));

        Assert.Equal([Breach.Regressed], _findings.All.Select(finding => finding.Breach));
    }

    [Fact]
    public void History_AfterALoss_MayShowOlderValues_UntilAllIsBack()
    {
        LedgerRow[] rows = [Row(1, window: 1), Row(2, window: 1)];
        Sample[] rebuilt = [Look(2, Redis((1, 2)), at: 1), Look(2, Redis(), at: 11), Look(0, Redis((1, 1)), at: 12), Look(2, Redis((1, 2)), at: 13)];
        History(rows, [new(5, 10)], [], rebuilt);
        Assert.Empty(_findings.All);

        History(rows, [new(5, 10)], [], [.. rebuilt, Look(2, Redis((1, 1)), at: 14)]);
        Assert.Equal([Breach.Regressed], _findings.All.Select(finding => finding.Breach));
    }

    [Fact]
    public void History_InANewEpoch_MayShowOlderValues_UntilAllIsBack()
    {
        Sample Look(long committed, int value, string epoch)
        {
            var redis = Redis((1, value));
            redis.Epoch = new($"{epoch} event_metrics/0");
            return CheckerTests.Look(committed, redis);
        }

        History([Row(1, window: 1), Row(2, window: 1)], [], [], Look(2, 2, "first"), Look(1, 1, "second"), Look(2, 2, "second"));
        Assert.Empty(_findings.All);

        History([Row(1, window: 1), Row(2, window: 1)], [], [], Look(2, 2, "first"), Look(1, 1, "second"), Look(2, 2, "second"), Look(2, 1, "second"));
        Assert.Equal([Breach.Regressed], _findings.All.Select(finding => finding.Breach));
    }

    /// <summary>The offset was read before the partition's rebuild began, and Redis' epoch after.</summary>
    [Fact]
    public void History_WithALookAtWhichThePartitionCameIntoTheEpoch_DoesNotCountIt()
    {
        var look = Look(2, Redis((1, 2)));
        History([Row(1, window: 1), Row(2, window: 1)], [], [], look with { Epoch = new("epoch") }, Look(1, Redis((1, 1))), Look(2, Redis((1, 2))));
        Assert.Empty(_findings.All);

        History([Row(1, window: 1), Row(2, window: 1)], [], [], look, Look(1, Redis((1, 1))));
        Assert.NotEmpty(_findings.All);
    }

    [Fact]
    public void History_WithoutAWindowThatMayBeTrimmed_HasNoFindings()
    {
        History([Row(1, window: 1), Row(2, window: 2), Row(3, window: 3)], [], [], Look(1, Redis((1, 1))), Look(3, Redis((2, 2), (3, 3))));

        Assert.Empty(_findings.All);
    }

    private void Finds(Breach breach, RedisState redis, params LedgerRow[] rows)
    {
        Checker.CheckEnd(Log(rows), redis, _findings);

        Assert.NotEmpty(_findings.All);
        Assert.All(_findings.All, finding => Assert.Equal(breach, finding.Breach));
    }

    private void History(LedgerRow[] rows, Loss[] losses, ConsumeResult<byte[]?, byte[]?>[] letters, params Sample[] samples) =>
        Checker.CheckHistory(Log(rows), samples, losses, letters, _findings);

    /// <summary>The value of a.count is the row's number.</summary>
    private static LedgerRow Row(long number, int window) => new(number, Here, [], Entry.Window("event", window), [("a.count", $"{number}")], false);

    private static LedgerRow Bad(long number) => new(number, Here, [], null, [], true);

    /// <summary>A row's offset is its index.</summary>
    private KafkaLog Log(params LedgerRow[] rows)
    {
        rows.ToList().ForEach(_ledger.Add);
        return new(_ledger, rows.Select((row, offset) => (Here, (long)offset, row)));
    }

    private static RedisState Redis(params (int Window, int Value)[] windows)
    {
        var state = new RedisState { Epoch = new("epoch event_metrics/0") };
        foreach (var (window, value) in windows)
        {
            state.Hashes[$"metrics:event:{window}"] = new() { ["a.count"] = $"{value}" };
            state.Indices.TryAdd("metrics:event:windows", []);
            state.Indices["metrics:event:windows"][$"{window}"] = window;
        }

        return state;
    }

    private static Sample Look(long committed, RedisState redis, long letters = 0, long at = 0) =>
        new(at, at, redis.Epoch, new Dictionary<TopicPartition, long> { [Here] = committed }, letters, redis, 100);

    private static ConsumeResult<byte[]?, byte[]?> Letter(long offset) => new()
    {
        TopicPartitionOffset = new("cache_dead_letters", 0, 0),
        Message = new()
        {
            Headers = new Headers
            {
                { "cache.topic", Encoding.UTF8.GetBytes(Here.Topic) },
                { "cache.partition", "0"u8.ToArray() },
                { "cache.offset", Encoding.UTF8.GetBytes($"{offset}") },
            },
        },
    };
}
