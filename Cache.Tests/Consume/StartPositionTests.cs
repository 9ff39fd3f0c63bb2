using System.Diagnostics.Metrics;
using Cache.Embedded;
using Cache.Tests.EndToEnd;
using Cache.Tests.Flush;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Consume;

public sealed class StartPositionTests
{
    [Fact]
    public async Task Latest_SkipsWhatWasThereBeforeTheFirstStart_ButNothingAfterIt()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("cache_consume_from", "latest"));
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "before", 1), Event(Window(2), "before", 1));

        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync();
        Assert.Equal([2, 0], stack.Kafka.Committed(Events));
        await stack.CoveredAsync();
        await stack.StopServiceAsync();

        await stack.Kafka.SendAsync(Events, 0, Event(Window(3), "between", 1));
        await stack.Kafka.SendAsync(Events, 1, Event(Window(4), "between", 2));
        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync();

        await stack.AnswersAsync(
            "/metrics/event/windows",
            $$"""{"windows":[{"window_start":{{Window(4)}},"between.count":2},{"window_start":{{Window(3)}},"between.count":1}]}""");
    }

    [Fact]
    public async Task FirstPosition_IsCommittedAtOnce_HoweverLongTheInterval()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("cache_consume_from", "latest"), ("kafka_commit_interval_ms", "600000"));
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "before", 1), Event(Window(2), "before", 1));

        await stack.StartServiceAsync();

        await Eventually.HoldsAsync(() => Assert.Equal([2, 0], stack.Kafka.Committed(Events)));
    }

    [Fact]
    public async Task Duration_ReadsWhatIsYoungEnough()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("cache_consume_from", "1h"));
        var twoHoursAgo = new Timestamp(TimeProvider.System.GetUtcNow().AddHours(-2));
        await stack.Kafka.SendAsync(Events, 0, [Old(Event(Window(1), "old", 1)), Old(Event(Window(2), "old", 1))]);
        await stack.Kafka.SendAsync(Events, 1, Event(Window(3), "young", 1));

        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync();

        await stack.AnswersAsync("/metrics/event/windows", $$"""{"windows":[{"window_start":{{Window(3)}},"young.count":1}]}""");

        Message<byte[]?, byte[]?> Old(string value)
        {
            var message = Message(value);
            message.Timestamp = twoHoursAgo;
            return message;
        }
    }

    [Fact]
    public async Task LateTopic_IsReadFromItsBeginning_AndHoldsUpNoOther()
    {
        await using var stack = await InProcessStack.PrepareAsync(
            null, ("cache_consume_from", "latest"), ("Kafka:topic.metadata.refresh.interval.ms", "2000"));
        stack.Broker.SetTopicError(Performance, ErrorCode.UnknownTopicOrPart);
        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync(Events);
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(1)}},"a.count":1}""");
        Assert.Contains(stack.Service.Log, line => line.Contains($"The topic {Performance} does not exist yet", StringComparison.Ordinal));

        stack.Broker.SetTopicError(Performance, ErrorCode.NoError);
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(1), "tv", 1), Load(Window(2), "tv", 2));

        await stack.EventuallyAnswersAsync("/metrics/performance/latest", $$"""{"window_start":{{Window(2)}},"tv.avg_load_time":2}""");
        await stack.EverythingIsCommittedAsync();
        Assert.Equal(new() { ["tv.avg_load_time"] = "1" }, await stack.HashAsync("perf", Window(1)));
    }

    [Fact]
    public async Task CommittedOffsetThatKafkaNoLongerHas_IsReported_AndTheOldestRowComesNext()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EverythingIsCommittedAsync();
        await stack.StopServiceAsync();
        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(2, 8).Select(minute => Event(Window(minute), "a", minute)));
        stack.Broker.DeleteRecords(Events, 0, 5);

        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync();

        var starts = await stack.Database.SortedSetRangeByRankAsync("metrics:event:windows");
        Assert.Equal([Window(1), .. Enumerable.Range(6, 4).Select(Window)], starts.Select(start => (long)start));
        await MissedAsync(stack, "event_metrics/0 before they were read: offsets 1 to 4, 4 rows", 4);
    }

    [Fact]
    public async Task RowsThatKafkaDeletes_BeforeTheServiceReadsThem_AreReported_EvenIfNothingIsLeft()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EverythingIsCommittedAsync();

        stack.Broker.PushRequestErrors(KafkaRequest.Fetch, [.. Enumerable.Repeat(ErrorCode.LeaderNotAvailable, 100_000)]);
        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(2, 8).Select(minute => Event(Window(minute), "a", minute)));
        await Eventually.HoldsAsync(() => Assert.Equal([9, 0], stack.Kafka.Ends(Events)));
        stack.Broker.DeleteRecords(Events, 0, 9);
        stack.Broker.ClearRequestErrors(KafkaRequest.Fetch);
        await MissedAsync(stack, "event_metrics/0 before they were read: offsets 1 to 8, 8 rows", 8);

        // The position is committed, so a restart does not count them as missed again.
        await stack.EverythingIsCommittedAsync();
        await stack.RestartServiceAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(20), "a", 20));
        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(20)}},"a.count":20}""");
        Assert.DoesNotContain(stack.Service.Log, line => line.Contains("before they were read", StringComparison.Ordinal));
    }

    private static async Task MissedAsync(InProcessStack stack, string said, int rows)
    {
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains(said, StringComparison.Ordinal)));
        using var counters = new Counters(stack.Service.Get<IMeterFactory>());
        Assert.Equal(rows, counters["cache.kafka.records.missed[event_metrics]"]);
    }

    [Fact]
    public async Task CommittedOffsetsThatKafkaDidNotReportAtFirst_AreRequestedAgain()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EverythingIsCommittedAsync();
        await stack.CoveredAsync();
        await stack.StopServiceAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(2), "a", 2));

        // For a while, neither we nor the client, which asks only once, get an answer.
        stack.Broker.PushRequestErrors(KafkaRequest.OffsetFetch, [.. Enumerable.Repeat(ErrorCode.GroupCoordinatorNotAvailable, 10_000)]);
        await stack.StartServiceAsync();
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Kafka did not report where partitions start", StringComparison.Ordinal)));
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Failed to fetch committed offset", StringComparison.Ordinal)));
        stack.Broker.ClearRequestErrors(KafkaRequest.OffsetFetch);

        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(2)}},"a.count":2}""");
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Kafka has reported where", StringComparison.Ordinal)));
        await Eventually.HoldsAsync(() => Assert.Equal([2, 0], stack.Kafka.Committed(Events)));
    }
}
