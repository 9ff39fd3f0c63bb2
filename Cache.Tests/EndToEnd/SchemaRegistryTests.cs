using System.Diagnostics.Metrics;
using System.Net;
using System.Text;
using Cache.Service.Persist;
using Cache.Tests.Decode;
using Cache.Tests.Flush;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.EndToEnd;

/// <summary>Rows that name a schema, through the whole stack.</summary>
public sealed class SchemaRegistryTests
{
    private const string User = "cache-user-S3cret";
    private const string Password = "registry-S3cret-0123456789";

    [Fact]
    public async Task RowsInAvro_AndJsonBehindTheFrame_BecomeWindows()
    {
        await using var registry = await FakeSchemaRegistry.StartAsync();
        registry.Add(1, AvroRows.Events);
        registry.Add(2, """{"type":"object"}""", "JSON");
        registry.Add(3, """{"type":"record","name":"Load","fields":[{"name":"window_start","type":"long"},{"name":"device_category","type":"string"},{"name":"avg_load_time","type":"float"}]}""");
        await using var stack = await InProcessStack.StartAsync(null, ("schema_registry_url", registry.Url));

        await stack.Kafka.SendAsync(Events, 0, [Message(AvroRows.Event(1, Window(1), "a", count: 7)), Message(AvroRows.Framed(2, Encoding.UTF8.GetBytes(Event(Window(1), "b", 8))))]);
        await stack.Kafka.SendAsync(Events, 1, Event(Window(1), "c", 9));
        var load = new Avro.Generic.GenericRecord((Avro.RecordSchema)Avro.Schema.Parse("""{"type":"record","name":"Load","fields":[{"name":"window_start","type":"long"},{"name":"device_category","type":"string"},{"name":"avg_load_time","type":"float"}]}"""));
        load.Add("window_start", Window(1));
        load.Add("device_category", "Mobile");
        load.Add("avg_load_time", 0.1f);
        await stack.Kafka.SendAsync(Performance, 0, [Message(AvroRows.Framed(3, AvroRows.Bytes(load.Schema, load)))]);
        await stack.EverythingIsCommittedAsync();

        Assert.Equal(new() { ["a.count"] = "7", ["b.count"] = "8", ["c.count"] = "9" }, await stack.HashAsync("event", Window(1)));
        Assert.Equal(new() { ["Mobile.avg_load_time"] = "0.1" }, await stack.HashAsync("perf", Window(1)));
        Assert.Empty(stack.Kafka.ReadAll(stack.DeadLetterTopic));
        await stack.ReadyAsync();

        // Each was asked for once.
        Assert.Equal(["/schemas/ids/1 ", "/schemas/ids/2 ", "/schemas/ids/3 "], registry.Requests.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task RegistryThatIsDown_HoldsUpItsPartitionsOnly_RejectsNothing_AndIsNamed()
    {
        var (url, port) = await FakeSchemaRegistry.DownAsync();
        await using var stack = await InProcessStack.StartAsync(null, ("schema_registry_url", url), ("redis_queue_max_size", "20"));
        var updates = await stack.SubscribeAsync();
        await stack.ReadyAsync();

        await stack.Kafka.SendAsync(Events, 0, [Message(Event(Window(0), "a", 0)), .. Enumerable.Range(1, 100).Select(number => Message(AvroRows.Event(1, Window(number), "a", count: number)))]);

        // The other partition of the topic, and the other topic, with a full queue now and then.
        await stack.Kafka.SendAsync(Events, 1, Enumerable.Range(0, 500).Select(number => Event(Window(0), "other", number)));
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(0), "Mobile", 5));
        await Eventually.HoldsAsync(async () =>
        {
            Assert.Equal("499", (await stack.HashAsync("event", Window(0)))["other.count"]);
            Assert.Equal("5", (await stack.HashAsync("perf", Window(0)))["Mobile.avg_load_time"]);
            var (status, body, _) = await stack.AskAsync("/readyz");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, status);
            Assert.Contains($"the schema registry at {url} does not answer: Connection refused", body, StringComparison.Ordinal);
        });
        using var counters = new Counters(stack.Service.Get<IMeterFactory>());
        Assert.Equal(1, counters["cache.schema.waiting.partitions"]);
        Assert.NotEqual(0, counters["cache.schema.registry.errors"]);
        Assert.Empty(await stack.HashAsync("event", Window(1)));
        Assert.Single(stack.Service.Log, line => line.Contains("Partitions wait for schema 1;", StringComparison.Ordinal));

        await using var registry = await FakeSchemaRegistry.StartAsync(port);
        registry.Add(1, AvroRows.Events);
        await stack.EverythingIsCommittedAsync();

        for (var number = 0; number <= 100; number++)
        {
            Assert.Equal($"{number}", (await stack.HashAsync("event", Window(number)))["a.count"]);
        }

        var order = updates.Where(update => update.GetProperty("type").GetString() == "event" && update.GetProperty("fields").TryGetProperty("a.count", out _))
            .Select(update => update.GetProperty("window_start").GetInt64()).ToList();
        Assert.Equal(101, order.Count);
        Assert.Equal(order.Order(), order);
        Assert.Empty(stack.Kafka.ReadAll(stack.DeadLetterTopic));
        await stack.ReadyAsync();
        Assert.Contains(stack.Service.Log, line => line.Contains("answers again", StringComparison.Ordinal));
    }

    [Fact]
    public async Task PartitionsThatWait_ArePassedOn_AndReadByTheirNextOwner()
    {
        var (url, port) = await FakeSchemaRegistry.DownAsync();
        await using var stack = await InProcessStack.StartAsync(null, ("schema_registry_url", url));
        await stack.Kafka.SendAsync(Events, 0, [Message(Event(Window(1), "a", 1)), Message(AvroRows.Event(1, Window(1), "a", count: 2))]);
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Partitions wait for schema 1;", StringComparison.Ordinal)));

        await stack.StopServiceAsync();
        Assert.Equal([1, 0], stack.Kafka.Committed(Events));
        await using var registry = await FakeSchemaRegistry.StartAsync(port);
        registry.Add(1, AvroRows.Events);
        await stack.StartServiceAsync();

        await Eventually.HoldsAsync(async () => Assert.Equal("2", (await stack.HashAsync("event", Window(1)))["a.count"]));
    }

    [Fact]
    [Trait("Category", "Long")]
    public async Task PartitionsThatWait_MoveToAReplicaThatJoins_AndBack()
    {
        var (url, port) = await FakeSchemaRegistry.DownAsync();
        await using var stack = await InProcessStack.StartAsync(null, ("schema_registry_url", url));
        foreach (var partition in new[] { 0, 1 })
        {
            await stack.Kafka.SendAsync(Events, partition, Enumerable.Range(1, 20).Select(number => Message(AvroRows.Event(1, Window(number), $"{partition}", count: number))));
        }

        using var counters = new Counters(stack.Service.Get<IMeterFactory>());
        await Eventually.HoldsAsync(() => Assert.Equal(2, counters["cache.schema.waiting.partitions"]));
        await using (var second = await stack.StartAnotherServiceAsync())
        {
            await Eventually.HoldsAsync(() => Assert.Contains(second.Log, line => line.Contains("Partitions wait for schema 1;", StringComparison.Ordinal)));
        }

        await Eventually.HoldsAsync(() => Assert.Equal(4, stack.Service.Get<Service.Partitions.Assignment>().Current.Count));
        await using var registry = await FakeSchemaRegistry.StartAsync(port);
        registry.Add(1, AvroRows.Events);
        await stack.EverythingIsCommittedAsync();

        for (var number = 1; number <= 20; number++)
        {
            Assert.Equal(new() { ["0.count"] = $"{number}", ["1.count"] = $"{number}" }, await stack.HashAsync("event", Window(number)));
        }
    }

    [Fact]
    public async Task SchemaTheRegistryDoesNotKnow_AndOtherBadRows_AreDeadLetters_WithTheirBytes_AndHoldUpNoOther()
    {
        await using var registry = await FakeSchemaRegistry.StartAsync();
        registry.Add(1, AvroRows.Events);
        registry.Add(2, """syntax = "proto3"; message M {}""", "PROTOBUF");
        await using var stack = await InProcessStack.StartAsync(null, ("schema_registry_url", registry.Url));
        byte[][] rows =
        [
            AvroRows.Event(404, Window(1), "a", 1), AvroRows.Event(2, Window(1), "a", 1), AvroRows.Event(1, Window(1), "a", 1)[..^1], AvroRows.Event(1, Window(1), "", 1), AvroRows.Event(1, Window(1), "a", -1),
            AvroRows.Event(1, Window(1), "a"), AvroRows.Event(1, Window(1), "a", 5),
        ];

        await stack.Kafka.SendAsync(Events, 0, rows.Select(Message));
        await stack.EverythingIsCommittedAsync();

        var letters = stack.Kafka.ReadAll(stack.DeadLetterTopic);
        Assert.Equal(["schema_unknown", "schema_unsupported", "bad_avro", "bad_dimension", "bad_measure", "no_measure"], letters.Select(letter => KafkaSide.Header(letter, DeadLetters.ReasonHeader)));
        Assert.Equal(rows[..^1], letters.Select(letter => letter.Message.Value!));
        Assert.Equal(new() { ["a.count"] = "5" }, await stack.HashAsync("event", Window(1)));
        await stack.ReadyAsync();
    }

    [Fact]
    public async Task RowsThatRedisRefuses_AreDecodedAgain_WithTheirSchema()
    {
        await using var registry = await FakeSchemaRegistry.StartAsync();
        registry.Add(1, AvroRows.Events);
        await using var stack = await InProcessStack.StartAsync(null, ("schema_registry_url", registry.Url));
        await stack.Database.StringSetAsync($"metrics:event:{Window(1)}", "in the way");

        await stack.Kafka.SendAsync(Events, 0, [Message(AvroRows.Event(1, Window(1), "a", 1)), Message(AvroRows.Event(1, Window(2), "a", 2))]);
        await stack.EverythingIsCommittedAsync();

        var letter = Assert.Single(stack.Kafka.ReadAll(stack.DeadLetterTopic));
        Assert.Equal("wrong_key_type", KafkaSide.Header(letter, DeadLetters.ReasonHeader));
        Assert.Equal(AvroRows.Event(1, Window(1), "a", 1), letter.Message.Value);
        Assert.Equal("2", (await stack.HashAsync("event", Window(2)))["a.count"]);
    }

    [Fact]
    public async Task Credentials_AreSent_AndNeverPrinted_EvenIfTheyAreWrong()
    {
        await using var registry = await FakeSchemaRegistry.StartAsync();
        registry.Failure = (401, """{"error_code":40101,"message":"Unauthorized"}""");
        registry.Add(1, AvroRows.Events);
        await using var stack = await InProcessStack.StartAsync(null,
            ("schema_registry_url", registry.Url), ("schema_registry_user", User), ("schema_registry_password", Password), ("Logging:LogLevel:Default", "Trace"), ("Logging:LogLevel:System.Net.Http", "Trace"));
        await stack.Kafka.SendAsync(Events, 0, [Message(AvroRows.Event(1, Window(1), "a", 1))]);
        await Eventually.HoldsAsync(async () =>
        {
            var (_, body, _) = await stack.AskAsync("/readyz");
            Assert.Contains("are schema_registry_user and schema_registry_password right?", body, StringComparison.Ordinal);
            AssertClean(body);
        });

        registry.Failure = null;
        await stack.EverythingIsCommittedAsync();

        var basic = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{User}:{Password}"));
        Assert.All(registry.Requests, request => Assert.EndsWith($"Basic {basic}", request, StringComparison.Ordinal));
        AssertClean(string.Join('\n', stack.Service.Log));
        AssertClean((await stack.AskAsync("/pipeline")).Body);

        void AssertClean(string text)
        {
            Assert.DoesNotContain("S3cret", text, StringComparison.Ordinal);
            Assert.DoesNotContain(Convert.ToBase64String(Encoding.UTF8.GetBytes($"{User}:{Password}")), text, StringComparison.Ordinal);
        }
    }

    private static Message<byte[]?, byte[]?> Message(byte[] value) => new() { Value = value };

    private static Message<byte[]?, byte[]?> Message(string value) => Rows.Message(value);
}
