using System.Text;
using System.Text.Json;
using Cache.Service.Http.Query;
using Cache.Service.Persist;
using Confluent.Kafka;

namespace Cache.Tests.Persist;

public sealed class DeadLetterTailTests
{
    private static readonly string[] Reasons = ["not_json", "bad_measure", "no_dimension"];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public void Find_GivesTheNewest_OfAnyLog_AndSaysWhetherItIsAll(int seed)
    {
        var random = new Random(seed);
        for (var round = 0; round < 60; round++)
        {
            var log = Draw(random);
            var tail = new DeadLetterTail(log.Partitions());
            for (var asked = 0; asked < 4; asked++)
            {
                var query = new LetterQuery(random.Next(1, 300), random.Next(2) == 0 ? null : Reasons[random.Next(3)], random.Next(4) == 0 ? "b" : null);
                var found = Find(tail, log, query);

                var expected = log.Records
                    .Select(record => SentLetter.Of(record, int.MaxValue))
                    .Where(query.Selects)
                    .OrderByDescending(letter => letter.Rejected).ThenByDescending(letter => letter.Offset).ThenBy(letter => letter.Partition)
                    .Select(Id).Take(query.Limit);
                Assert.True(found.IsComplete);
                Assert.Equal(expected, found.Letters.Select(Id));
                Assert.InRange(found.Scanned, found.Letters.Count, log.Records.Count());
            }
        }
    }

    [Fact]
    public void Find_WithoutAFilter_ReadsLittleMoreThanItGives()
    {
        var log = new LetterLog(1);
        for (var number = 0; number < 5000; number++)
        {
            log.Add(0, number, "x"u8.ToArray());
        }

        var found = Find(new(log.Partitions()), log, new(50));

        Assert.Equal((50, 50, true), (found.Letters.Count, found.Scanned, found.IsComplete));
        Assert.InRange(log.Delivered, 50, 64);
    }

    [Fact]
    public void Find_StopsAtTheBoundOfLetters_AndSaysSo()
    {
        var log = new LetterLog(2);
        for (var number = 0; number < DeadLetterTail.MaxLetters; number++)
        {
            log.Add(0, number, "x"u8.ToArray());
            log.Add(1, number, "x"u8.ToArray());
        }

        var found = Find(new(log.Partitions()), log, new(10, "bad_measure"));

        Assert.Empty(found.Letters);
        Assert.False(found.IsComplete);
        Assert.InRange(found.Scanned, DeadLetterTail.MaxLetters - 1, DeadLetterTail.MaxLetters);
    }

    [Fact]
    public void Find_StopsAtTheBoundOfBytes_KeepsTheNewest_AndSaysSo()
    {
        var log = new LetterLog(1);
        var large = new byte[1024 * 1024];
        for (var number = 0; number < 30; number++)
        {
            log.Add(0, number, large);
        }

        var tail = new DeadLetterTail(log.Partitions());
        var found = Find(tail, log, new(20));

        Assert.Equal([29, 28, 27, 26, 25, 24, 23], found.Letters.Select(letter => (int)letter.Offset));
        Assert.False(found.IsComplete);
        Assert.True(found.Letters.Sum(letter => letter.Size) <= DeadLetterTail.MaxBytes);
        Assert.True(Find(tail, log, new(5)).IsComplete);
    }

    [Fact]
    public void Letter_ThatIsTooLarge_KeepsTheBeginningOfItsValue_AndItsOrigin()
    {
        var log = new LetterLog(1);
        log.Add(0, 1, Encoding.UTF8.GetBytes("é" + new string('€', DeadLetterTail.MaxLetterBytes)));
        log.Add(0, 2, "small"u8.ToArray());

        var found = Find(new(log.Partitions()), log, new(2));

        var large = found.Letters[1];
        Assert.False(large.IsWhole);
        Assert.Equal(2 + (3L * DeadLetterTail.MaxLetterBytes), large.ValueBytes);
        Assert.Equal("é" + new string('€', (SentLetter.MaxPreview - 2) / 3), Encoding.UTF8.GetString(large.Value!));
        Assert.Equal(("not_json", "event_metrics", 3, 0L), (large.Reason, large.OriginTopic, large.OriginPartition, large.OriginOffset));
        Assert.True(found.Letters[0].IsWhole);
        Assert.True(found.IsComplete);
    }

    [Fact]
    public void Timeout_WithNothingRead_IsAnError_AndLaterABound()
    {
        var log = new LetterLog(1) { SilentAfter = 10 };
        for (var number = 0; number < 200; number++)
        {
            log.Add(0, number, "x"u8.ToArray());
        }

        Assert.Throws<KafkaException>(() => Find(new(log.Partitions()), log, new(100, "bad_measure")));

        log.SilentAfter = log.Delivered + 70;
        var found = Find(new(log.Partitions()), log, new(10, "bad_measure"));
        Assert.Equal((0, 64, false), (found.Letters.Count, found.Scanned, found.IsComplete));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void AnyRecord_IsReadable_AsJsonAndAsALine_AndTheLineHasItsBytes(int seed)
    {
        var random = new Random(seed);
        var log = new LetterLog(1);
        for (var number = 0; number < 500; number++)
        {
            log.Add(0, HostileLetters.Draw(random));
        }

        var found = Find(new(log.Partitions()), log, new(1000));

        Assert.Equal(500, found.Letters.Count);
        var body = new System.Buffers.ArrayBufferWriter<byte>();
        LetterJson.Write(body, LetterLog.Topic, found);
        var json = JsonElement.Parse(body.WrittenSpan);
        Assert.Equal(found.Letters.Select(letter => letter.Offset), json.GetProperty("letters").EnumerateArray().Select(letter => letter.GetProperty("dead_letter").GetProperty("offset").GetInt64()));
        foreach (var (letter, record) in found.Letters.OrderBy(letter => letter.Offset).Zip(log.Records))
        {
            body.ResetWrittenCount();
            LetterJson.WriteLine(body, letter);
            Assert.Equal(body.WrittenCount - 1, body.WrittenSpan.IndexOf((byte)'\n'));
            HostileLetters.AssertSame(record.Message, JsonElement.Parse(body.WrittenSpan));
        }
    }

    [Fact]
    public void Json_EndsAtItsBound_AndSaysSo()
    {
        var log = new LetterLog(1);
        for (var number = 0; number < 1000; number++)
        {
            // A control character takes six bytes in JSON.
            log.Add(0, number, new byte[SentLetter.MaxPreview]);
        }

        var body = new System.Buffers.ArrayBufferWriter<byte>();
        LetterJson.Write(body, LetterLog.Topic, Find(new(log.Partitions()), log, new(1000)));

        Assert.InRange(body.WrittenCount, LetterJson.MaxBytes, LetterJson.MaxBytes + 50_000);
        Assert.False(JsonElement.Parse(body.WrittenSpan).GetProperty("complete").GetBoolean());
    }

    private static LettersFound Find(DeadLetterTail tail, LetterLog log, LetterQuery query)
    {
        var consumer = log.Consumer();
        LettersFound found;
        while (!tail.TryFind(query, out found))
        {
            tail.ReadBack(consumer, query.Limit, () => TimeSpan.FromSeconds(5));
        }

        return found;
    }

    private static LetterLog Draw(Random random)
    {
        var partitions = random.Next(1, 5);
        var log = new LetterLog(partitions);
        var letters = random.Next(3) * random.Next(1500);
        for (var number = 0; number < letters; number++)
        {
            // Some partitions get most of them.
            var partition = random.Next(3) == 0 ? random.Next(partitions) : 0;
            if (random.Next(10) == 0)
            {
                log.AddGap(partition);
            }
            else
            {
                log.Add(partition, number, random.Next(5) == 0 ? null : [(byte)number], random.Next(20) == 0 ? null : Reasons[random.Next(3)], random.Next(2) == 0 ? "a" : "b");
            }
        }

        for (var partition = 0; partition < partitions; partition++)
        {
            for (var gap = random.Next(3); gap > 0; gap--)
            {
                log.AddGap(partition);
            }
        }

        return log;
    }

    private static (int, long) Id(SentLetter letter) => (letter.Partition, letter.Offset);
}
