using System.Net;
using System.Net.Sockets;
using Cache.Embedded;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Tests.Faults;

/// <summary>What a fault affects; each has one fault at a time.</summary>
internal enum FaultOf
{
    Service,
    Redis,
    Kafka,
}

/// <summary>A scheduled fault.</summary>
/// <param name="Fault">The fault.</param>
/// <param name="After">The delay after the previous step.</param>
/// <param name="Waits">Whether the next step waits until this fault is over.</param>
/// <param name="Seed">Decides its details.</param>
internal sealed record CampaignStep(CampaignFault Fault, TimeSpan After, bool Waits, int Seed);

/// <summary>A fault of the campaign. Injecting it includes repairing it.</summary>
/// <param name="Name">A short name.</param>
/// <param name="Of">What it affects.</param>
/// <param name="Weight">Its frequency relative to the others.</param>
/// <param name="InjectAsync">Injects it.</param>
internal sealed record CampaignFault(string Name, FaultOf Of, int Weight, Func<CampaignRun, Random, Task> InjectAsync)
{
    private static readonly CampaignFault Kill = new("kill -9", FaultOf.Service, 14, KillAsync);

    /// <summary>All faults, for a stack of one or more services, one Redis and one Kafka.</summary>
    public static IReadOnlyList<CampaignFault> All { get; } =
    [
        Kill,
        new("kill -9, and once more while it starts", FaultOf.Service, 4, async (run, random) =>
        {
            await KillAsync(run, random);
            await KillAsync(run, random);
        }),
        new("SIGTERM", FaultOf.Service, 5, TerminateAsync),
        new("SIGTERM, while clients hold connections", FaultOf.Service, 3, async (run, random) =>
        {
            var member = Pick(run, random);
            using var client = new TcpClient();
            await client.ConnectAsync(IPAddress.Loopback, member.Process.Http.BaseAddress!.Port);
            await client.GetStream().WriteAsync("GET / HTTP/1.1\r\nHost"u8.ToArray());
            await EndAsync(run, member);
            await run.StartMemberAsync();
        }),
        new("one more replica", FaultOf.Service, 5, async (run, random) =>
        {
            if (run.Members.Count < 3)
            {
                await run.StartMemberAsync();
                await PauseAsync(random, 500, 2500);
            }
        }),
        new("one replica less", FaultOf.Service, 4, async (run, random) =>
        {
            if (run.Members.Count < 2)
            {
                await run.StartMemberAsync();
                await PauseAsync(random, 500, 2500);
            }

            await EndAsync(run, Pick(run, random));
        }),
        new("SIGSTOP beyond the session timeout", FaultOf.Service, 6, async (run, random) =>
        {
            if (run.Members.Count < 2)
            {
                await run.StartMemberAsync();
                await PauseAsync(random, 0, 2000);
            }

            await FreezeAsync(run, random, (int)CampaignRun.Session.TotalMilliseconds + 300, (int)CampaignRun.Session.TotalMilliseconds + 2500);
        }),
        new("SIGSTOP for a moment", FaultOf.Service, 3, (run, random) => FreezeAsync(run, random, 50, 1500)),

        new("Redis restarted empty", FaultOf.Redis, 4, (run, random) => run.LoseAsync(async () =>
        {
            Only(run).Kill();
            await PauseAsync(random, 0, 1500);
            await Only(run).RestartAsync();
        })),
        new("FLUSHALL", FaultOf.Redis, 5, (run, _) => run.LoseAsync(() => AdminAsync(run, "FLUSHALL"))),
        new("Redis out of memory", FaultOf.Redis, 4, async (run, random) =>
        {
            await AdminAsync(run, "CONFIG", "SET", "maxmemory", "1");
            await PauseAsync(random, 100, 2000);
            await AdminAsync(run, "CONFIG", "SET", "maxmemory", "0");
        }),
        new("Redis without enough replicas", FaultOf.Redis, 3, async (run, random) =>
        {
            await AdminAsync(run, "CONFIG", "SET", "min-replicas-to-write", "1");
            await PauseAsync(random, 100, 2000);
            await AdminAsync(run, "CONFIG", "SET", "min-replicas-to-write", "0");
        }),
        new("Redis with too many clients", FaultOf.Redis, 3, async (run, random) =>
        {
            await AdminAsync(run, "CONFIG", "SET", "maxclients", "2");
            await DropClientsAsync(run);
            await PauseAsync(random, 100, 2000);
            await AdminAsync(run, "CONFIG", "SET", "maxclients", "10000");
        }),
        new("Redis password changed", FaultOf.Redis, 3, async (run, random) =>
        {
            await AdminAsync(run, "CONFIG", "SET", "requirepass", "changed");
            await DropClientsAsync(run);
            await PauseAsync(random, 100, 2000);
            await AdminAsync(run, "CONFIG", "SET", "requirepass", "");
        }),
        new("connections to Redis dropped", FaultOf.Redis, 4, (run, _) => DropClientsAsync(run)),
        new("Redis frozen", FaultOf.Redis, 4, async (run, random) =>
        {
            Only(run).Freeze();
            await PauseAsync(random, 50, 2500);
            Only(run).Thaw();
        }),
        new("Redis busy with a script", FaultOf.Redis, 2, async (run, random) =>
        {
            await AdminAsync(run, "CONFIG", "SET", "busy-reply-threshold", "20");
            await using var other = await ConnectionMultiplexer.ConnectAsync(run.Redis.Admin.Configuration);
            var script = other.GetDatabase().ExecuteAsync("EVAL", "while true do end", 0);
            await PauseAsync(random, 100, 1500);
            await AdminAsync(run, "SCRIPT", "KILL");
            await script.ContinueWith(_ => { }, TaskScheduler.Default);
        }),
        new("Redis read-only", FaultOf.Redis, 3, async (run, random) =>
        {
            await AdminAsync(run, "REPLICAOF", "127.0.0.1", "1");
            await PauseAsync(random, 100, 1500);
            await AdminAsync(run, "REPLICAOF", "NO", "ONE");
        }),
        new("Redis back from a snapshot, loading it", FaultOf.Redis, 3, (run, random) => run.LoseAsync(async () =>
        {
            await AdminAsync(run, "SAVE");

            // Anything written from here on is not in the snapshot.
            await PauseAsync(random, 0, 1000);
            await Only(run).RestartFromDiskAsync("--key-load-delay", $"{random.Next(1000, 100_000)}", "--loading-process-events-interval-bytes", "1024");
            await Loaded(run);
        })),

        new("brokers down", FaultOf.Kafka, 4, async (run, random) =>
        {
            run.Broker.BreakAllBrokers();
            await PauseAsync(random, 50, 2000);
            run.Broker.MendAllBrokers();
        }),
        new("one broker down", FaultOf.Kafka, 3, async (run, random) =>
        {
            var broker = 1 + random.Next(run.Broker.BrokerCount);
            run.Broker.BreakBroker(broker);
            await PauseAsync(random, 100, 2500);
            run.Broker.MendBroker(broker);
        }),
        new("brokers away beyond the session timeout", FaultOf.Kafka, 1, async (run, random) =>
        {
            run.Broker.BreakAllBrokers();
            await PauseAsync(random, (int)CampaignRun.Session.TotalMilliseconds, (int)CampaignRun.Session.TotalMilliseconds + 1500);
            run.Broker.MendAllBrokers();
        }),
        new("leaders move", FaultOf.Kafka, 4, async (run, random) =>
        {
            for (var times = random.Next(1, 4); times > 0; times--)
            {
                foreach (var topic in run.Topics.ToList())
                {
                    for (var partition = 0; partition < run.Mix.Partitions; partition++)
                    {
                        run.Broker.MoveLeader(topic, partition, 1 + random.Next(run.Broker.BrokerCount));
                    }
                }

                await PauseAsync(random, 50, 500);
            }
        }),
        new("the coordinator moves", FaultOf.Kafka, 4, async (run, random) =>
        {
            for (var times = random.Next(1, 4); times > 0; times--)
            {
                run.Broker.MoveCoordinator("campaign", 1 + random.Next(run.Broker.BrokerCount));
                await PauseAsync(random, 50, 500);
            }
        }),
        new("round trips of up to a second", FaultOf.Kafka, 3, async (run, random) =>
        {
            run.Broker.SetRoundTrip(TimeSpan.FromMilliseconds(random.Next(100, 1000)));
            await PauseAsync(random, 500, 2500);
            run.Broker.SetRoundTrip(TimeSpan.Zero);
        }),
        Errors(KafkaRequest.Fetch, ErrorCode.NotLeaderForPartition, ErrorCode.UnknownTopicOrPart, ErrorCode.KafkaStorageError, ErrorCode.Local_Transport),
        Errors(KafkaRequest.OffsetCommit,
            ErrorCode.RebalanceInProgress, ErrorCode.GroupCoordinatorNotAvailable, ErrorCode.NotCoordinatorForGroup, ErrorCode.RequestTimedOut,
            ErrorCode.GroupAuthorizationFailed, ErrorCode.UnknownMemberId, ErrorCode.IllegalGeneration, ErrorCode.Local_Transport),
        Errors(KafkaRequest.JoinGroup, ErrorCode.GroupCoordinatorNotAvailable, ErrorCode.NotCoordinatorForGroup, ErrorCode.UnknownMemberId, ErrorCode.Local_Transport),
        Errors(KafkaRequest.SyncGroup, ErrorCode.RebalanceInProgress, ErrorCode.UnknownMemberId, ErrorCode.IllegalGeneration, ErrorCode.Local_Transport),
        Errors(KafkaRequest.Heartbeat,
            ErrorCode.RebalanceInProgress, ErrorCode.UnknownMemberId, ErrorCode.IllegalGeneration, ErrorCode.GroupCoordinatorNotAvailable, ErrorCode.Local_Transport),
        Errors(KafkaRequest.Produce, ErrorCode.NotLeaderForPartition, ErrorCode.NotEnoughReplicas, ErrorCode.KafkaStorageError, ErrorCode.Local_Transport),
        Errors(KafkaRequest.InitProducerId, ErrorCode.ClusterAuthorizationFailed, ErrorCode.NotCoordinatorForGroup, ErrorCode.Local_Transport),
        Errors(KafkaRequest.OffsetFetch, ErrorCode.GroupCoordinatorNotAvailable, ErrorCode.NotCoordinatorForGroup, ErrorCode.Local_Transport),
        Errors(KafkaRequest.ListOffsets, ErrorCode.NotLeaderForPartition, ErrorCode.KafkaStorageError, ErrorCode.Local_Transport),
        new("every row is malformed", FaultOf.Kafka, 2, async (run, random) =>
        {
            var share = run.Mix.Malformed;
            run.Mix.Malformed = 1;
            await PauseAsync(random, 200, 1500);
            run.Mix.Malformed = share;
        }),
        new("a topic appears", FaultOf.Kafka, 2, (run, _) =>
        {
            run.CreateTopics();
            return Task.CompletedTask;
        }),
    ];

    /// <summary>This fault alone, soon after the start.</summary>
    public IReadOnlyList<CampaignStep> Alone(int seed) => [new(this, TimeSpan.FromMilliseconds(300), true, seed)];

    /// <summary>The faults of a seed. Every other seed kills a service, whatever else happens.</summary>
    public static List<CampaignStep> Schedule(Random random, int seed)
    {
        var sum = All.Sum(fault => fault.Weight);
        var steps = new List<CampaignStep>();
        for (var n = 2 + random.Next(4); n > 0; n--)
        {
            steps.Add(new(Draw(random.Next(sum)), TimeSpan.FromMilliseconds(random.Next(50, 700)), random.Next(3) != 0, random.Next()));
        }

        if (seed % 2 == 0 && !steps.Exists(step => step.Fault.Name.StartsWith(Kill.Name, StringComparison.Ordinal)))
        {
            steps.Insert(random.Next(steps.Count + 1), new(Kill, TimeSpan.FromMilliseconds(random.Next(50, 700)), random.Next(3) != 0, random.Next()));
        }

        return steps;
    }

    private static CampaignFault Draw(int at)
    {
        foreach (var fault in All)
        {
            if ((at -= fault.Weight) < 0)
            {
                return fault;
            }
        }

        throw new InvalidOperationException();
    }

    private static CampaignFault Errors(KafkaRequest request, params ErrorCode[] codes) =>
        new($"errors of {request}", FaultOf.Kafka, 3, async (run, random) =>
        {
            run.Broker.PushRequestErrors(request, [.. Enumerable.Range(0, random.Next(1, 8)).Select(_ => codes[random.Next(codes.Length)])]);
            await PauseAsync(random, 100, 1500);
            run.Broker.ClearRequestErrors(request);
        });

    private static async Task KillAsync(CampaignRun run, Random random)
    {
        await PauseAsync(random, 0, 1500);
        var member = Pick(run, random);
        run.Take(member);
        await member.Process.KillAsync();
        run.Kills++;
        run.Note($"{member.Name} is killed");
        await PauseAsync(random, 0, 500);
        await run.StartMemberAsync();
    }

    private static async Task TerminateAsync(CampaignRun run, Random random)
    {
        await EndAsync(run, Pick(run, random));
        await run.StartMemberAsync();
    }

    private static async Task EndAsync(CampaignRun run, CampaignMember member)
    {
        run.Take(member);
        member.Process.Terminate();
        var code = await member.Process.ExitAsync(TimeSpan.FromSeconds(30));
        run.Note($"{member.Name} has ended with {code}");
        if (code != 0)
        {
            run.Findings.Add(Breach.Unavailable, $"{member.Name} ended with {code} after SIGTERM");
        }
    }

    private static async Task FreezeAsync(CampaignRun run, Random random, int least, int most)
    {
        var member = Pick(run, random);
        member.Freeze();
        run.Note($"{member.Name} is frozen");
        await PauseAsync(random, least, most);
        member.Thaw();
        run.Note($"{member.Name} goes on");
    }

    private static CampaignMember Pick(CampaignRun run, Random random) => run.Members[random.Next(run.Members.Count)];

    private static Task PauseAsync(Random random, int least, int most) => Task.Delay(TimeSpan.FromMilliseconds(random.Next(least, most)));

    private static RedisServer Only(CampaignRun run) => run.Redis.Servers[0];

    private static Task<RedisResult> AdminAsync(CampaignRun run, string command, params object[] arguments) => run.Redis.ExecuteAsync(Only(run), command, arguments);

    /// <summary>Drops the services' connections, but not the campaign's own.</summary>
    private static Task<RedisResult> DropClientsAsync(CampaignRun run) => AdminAsync(run, "CLIENT", "KILL", "USER", "default");

    private static async Task Loaded(CampaignRun run)
    {
        for (var attempt = 1; attempt < 200; attempt++)
        {
            try
            {
                await run.Redis.Admin.GetDatabase().StringGetAsync("cache:epoch");
                return;
            }
            catch (RedisException)
            {
                await Task.Delay(50);
            }
        }
    }
}
