using System.Collections.Concurrent;
using System.Net;
using System.Text.Json;
using StackExchange.Redis;

namespace Cache.Tests.EndToEnd;

/// <summary>
/// Kafka, Redis and the service, running. A test knows nothing else of a stack, so that the same tests can run on any. Each test
/// gets its own, empty stack.
/// </summary>
public abstract class RunningStack : IAsyncDisposable
{
    private readonly Lazy<KafkaSide> _kafka;
    private ConnectionMultiplexer? _redis;

    /// <summary>From here on, the test can no longer be skipped.</summary>
    protected RunningStack()
    {
        Requirement.Started();
        _kafka = new(() => new(KafkaAddress, Group));
    }

    /// <summary>A client of the service, with the service's address as base.</summary>
    public abstract HttpClient Http { get; }

    /// <summary>Kafka's bootstrap servers.</summary>
    public abstract string KafkaAddress { get; }

    /// <summary>Redis, as a connection string for StackExchange.Redis.</summary>
    public abstract string RedisAddress { get; }

    /// <summary>The prefix of every key.</summary>
    public virtual string KeyPrefix => "";

    /// <summary>The service's consumer group.</summary>
    public virtual string Group => "cache-service";

    /// <summary>The service's dead-letter topic.</summary>
    public virtual string DeadLetterTopic => "cache_dead_letters";

    /// <summary>The service's log, as far as it is available.</summary>
    public virtual string Log => "";

    /// <summary>The other end of the topics.</summary>
    internal KafkaSide Kafka => _kafka.Value;

    /// <summary>A Redis client of the test's own.</summary>
    internal ConnectionMultiplexer Redis => _redis ??= Connect(RedisAddress);

    internal IDatabase Database => Redis.GetDatabase();

    /// <summary>Restarts the service, on the same Kafka and Redis.</summary>
    public abstract Task RestartServiceAsync();

    /// <summary>Waits until the service is ready.</summary>
    public Task ReadyAsync() => Eventually.HoldsAsync(() => GetAsync("/readyz"));

    /// <inheritdoc/>
    public virtual async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        TestContext.Current.TestOutputHelper?.WriteLine(Log);

        // Created now if it was not before, so that later users get an ObjectDisposedException.
        Kafka.Dispose();
        if (_redis is not null)
        {
            await _redis.DisposeAsync();
        }
    }

    internal RedisKey Key(string key) => KeyPrefix + key;

    /// <summary>The JSON of a route, which must answer with 200.</summary>
    internal async Task<JsonElement> GetAsync(string route)
    {
        using var answer = await Http.GetAsync(route);
        var body = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.StatusCode == HttpStatusCode.OK, $"{route} → {(int)answer.StatusCode} {body}");
        return JsonElement.Parse(body);
    }

    /// <summary>Asserts the JSON of a route, ignoring the order of properties.</summary>
    internal async Task AnswersAsync(string route, string json)
    {
        var answer = await GetAsync(route);
        Assert.True(JsonElement.DeepEquals(JsonElement.Parse(json), answer), $"{route}: expected {json}, got {answer}");
    }

    /// <summary>Waits for a route to answer with this JSON.</summary>
    internal Task EventuallyAnswersAsync(string route, string json) => Eventually.HoldsAsync(() => AnswersAsync(route, json));

    /// <summary>The status, body and media type of a route.</summary>
    internal async Task<(HttpStatusCode Status, string Body, string? Type)> AskAsync(string route)
    {
        using var answer = await Http.GetAsync(route);
        return (answer.StatusCode, await answer.Content.ReadAsStringAsync(), answer.Content.Headers.ContentType?.MediaType);
    }

    /// <summary>The fields of a window in Redis.</summary>
    internal async Task<Dictionary<string, string>> HashAsync(string type, long start) =>
        (await Database.HashGetAllAsync(Key($"metrics:{type}:{start}"))).ToStringDictionary();

    /// <summary>Waits until the epoch lists every partition: from then on, a restart rereads nothing.</summary>
    internal Task CoveredAsync() => Eventually.HoldsAsync(async () => Assert.Equal(
        Kafka.Partitions(Rows.Events).Concat(Kafka.Partitions(Rows.Performance)).Select(partition => $"{partition.Topic}/{partition.Partition.Value}"),
        (await Database.StringGetAsync(Key("cache:epoch"))).ToString().Split(' ').Skip(1).Distinct().Order(StringComparer.Ordinal)));

    /// <summary>Collects the updates, in the order of publication.</summary>
    internal async Task<ConcurrentQueue<JsonElement>> SubscribeAsync()
    {
        var updates = new ConcurrentQueue<JsonElement>();
        var messages = await Redis.GetSubscriber().SubscribeAsync(RedisChannel.Literal(KeyPrefix + "cache:updates"));
        messages.OnMessage(message => updates.Enqueue(JsonElement.Parse(message.Message.ToString())));
        return updates;
    }

    /// <summary>Asserts that Redis has event windows 0 to <paramref name="count"/> − 1, each with its number as the count of a.</summary>
    internal async Task AssertWindowsAsync(int count)
    {
        var starts = await Database.SortedSetRangeByRankAsync(Key("metrics:event:windows"));
        Assert.Equal(Enumerable.Range(0, count).Select(Rows.Window), starts.Select(start => (long)start));
        var pipeline = Database.CreateBatch();
        var hashes = starts.Select((start, number) => (number, Hash: pipeline.HashGetAsync(Key($"metrics:event:{start}"), "a.count"))).ToList();
        pipeline.Execute();
        foreach (var (number, hash) in hashes)
        {
            Assert.Equal(number, (long)await hash);
        }
    }

    /// <summary>Waits until every row is processed: the committed offsets are at the end of every partition.</summary>
    internal Task EverythingIsCommittedAsync(params string[] topics) => Eventually.HoldsAsync(() =>
    {
        foreach (var topic in topics is [] ? [Rows.Events, Rows.Performance] : topics)
        {
            Assert.Equal(Kafka.Ends(topic), Kafka.Committed(topic));
        }
    });

    private static ConnectionMultiplexer Connect(string address)
    {
        var options = ConfigurationOptions.Parse(address);
        options.AbortOnConnectFail = false;
        options.AllowAdmin = true;
        return ConnectionMultiplexer.Connect(options);
    }
}
