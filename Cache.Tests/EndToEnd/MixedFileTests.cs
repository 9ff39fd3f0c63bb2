using Cache.Service.Persist;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.EndToEnd;

/// <summary>10,000 rows in every format, good and bad, through the whole stack.</summary>
public sealed class MixedFileTests
{
    [Fact]
    public async Task EveryGoodRowIsInRedis_EveryBadOneInTheDeadLetters_AndAllIsCommitted_OnEmbeddedRedis() => await RunAsync(null);

    [Fact]
    public async Task EveryGoodRowIsInRedis_EveryBadOneInTheDeadLetters_AndAllIsCommitted_OnRealRedis()
    {
        await using var redis = await RedisServer.StartAsync("s3cret-Pass");
        await RunAsync(redis.ConnectionString);
    }

    private static async Task RunAsync(string? redis)
    {
        var seed = Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var rows = new MixedRows(seed).Make(10_000).ToList();
        await using var stack = await InProcessStack.PrepareAsync(redis, ("window_retention_count", "1000000"), ("cache_dead_letter_topic", "rejected"));
        stack.Broker.DeleteTopic(Events);
        stack.Broker.DeleteTopic(Performance);
        stack.Broker.CreateTopic(Events, partitions: 3);
        stack.Broker.CreateTopic(Performance, partitions: 3);

        var places = await stack.Kafka.SendAsync(rows.Select((row, n) => (
            new TopicPartition(row.Topic, row.Partition), new Message<byte[]?, byte[]?> { Key = BitConverter.GetBytes(n), Value = row.Value })));
        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync();

        var expected = new Dictionary<(string Type, long Window), Dictionary<string, string>>();
        foreach (var row in rows.Where(row => row.Fields is not null))
        {
            var key = (row.Topic == Events ? "event" : "perf", row.Window);
            if (!expected.TryGetValue(key, out var fields))
            {
                expected[key] = fields = [];
            }

            foreach (var (name, value) in row.Fields!)
            {
                fields[name] = value;
            }
        }

        foreach (var type in new[] { "event", "perf" })
        {
            var starts = (await stack.Database.SortedSetRangeByRankAsync($"metrics:{type}:windows")).Select(start => (long)start).ToList();
            Assert.Equal(expected.Keys.Where(key => key.Type == type).Select(key => key.Window).Order(), starts);
            foreach (var start in starts)
            {
                var fields = await stack.HashAsync(type, start);
                Assert.Equal(expected[(type, start)].OrderBy(field => field.Key, StringComparer.Ordinal), fields.OrderBy(field => field.Key, StringComparer.Ordinal));
            }
        }

        var letters = stack.Kafka.ReadAll(stack.DeadLetterTopic).ToDictionary(letter => (
            KafkaSide.Header(letter, DeadLetters.TopicHeader),
            KafkaSide.Header(letter, DeadLetters.PartitionHeader),
            KafkaSide.Header(letter, DeadLetters.OffsetHeader)));
        var bad = rows.Zip(places).Where(row => row.First.Reason is not null).ToList();
        Assert.True(bad.Count > 1000);
        foreach (var (row, place) in bad)
        {
            Assert.True(
                letters.Remove((place.Topic, $"{place.Partition.Value}", $"{place.Offset.Value}"), out var letter),
                $"not rejected, but {row.Reason}: {Show(row)}");
            Assert.True(KafkaSide.Header(letter, DeadLetters.ReasonHeader) == row.Reason, $"{KafkaSide.Header(letter, DeadLetters.ReasonHeader)}, not {row.Reason}: {Show(row)}");
            Assert.Equal(row.Value, letter.Message.Value);
            Assert.Equal(4, letter.Message.Key!.Length);
        }

        Assert.True(letters.Count == 0, $"rejected, but good: {string.Join('\n', letters.Values.Take(5).Select(letter => KafkaSide.Header(letter, DeadLetters.ReasonHeader) + Text(letter.Message.Value)))}");
    }

    private static string Show(MixedRow row) => Text(row.Value);

    private static string Text(byte[]? value) => value is null ? "null" : System.Text.Encoding.UTF8.GetString(value.AsSpan(0, Math.Min(300, value.Length)));
}
