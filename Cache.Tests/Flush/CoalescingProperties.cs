using Cache.Service.Model;
using Cache.Service.Partitions;
using Cache.Tests.Persist;
using CsCheck;

namespace Cache.Tests.Flush;

/// <summary>Coalescing saves writes and changes nothing else.</summary>
public sealed class CoalescingProperties(RedisServers servers)
{
    private static readonly Gen<Row> WindowRow =
        from kind in Gen.OneOf(RowKind.Event, RowKind.Performance)
        from window in Gen.Long[1, 6]
        from dimension in Gen.OneOf("a", "b", "ü x")
        from first in Gen.Long[0, 9]
        from second in Gen.Long[0, 9]
        from has in Gen.Int[1, 3]
        let one = (has & 1) != 0
        let two = (has & 2) != 0
        select kind == RowKind.Event
            ? TestRows.Event(window, dimension, one ? first : null, two ? second : null)
            : TestRows.Performance(window, dimension, one ? first / 8.0 : null, two ? second * 1e20 : null);

    // Sessions that are active, and stay so.
    private static readonly long Now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    private static readonly Gen<Row> SessionRow =
        from id in Gen.OneOf("s", "t", "ü x")
        from end in Gen.Long[0, 5]
        from user in Gen.OneOf("u", "v", null!)
        from start in Gen.Long[0, 9]
        from duration in Gen.Long[0, 9]
        from pages in Gen.Long[0, 9]
        from device in Gen.OneOf("TV", "Mobile", null!)
        from has in Gen.Int[0, 7]
        select TestRows.Session(
            id, Now + end, user, (has & 1) != 0 ? start : null, (has & 2) != 0 ? duration : null, (has & 4) != 0 ? pages : null, device);

    private static readonly Gen<Row> AnyRow = Gen.Frequency((20, WindowRow), (10, SessionRow), (1, Gen.Const(TestRows.Rejected())), (1, Gen.Const(Row.Skip)));

    private static readonly Gen<(int Partition, Row Row)[]> Rows = Gen.Select(Gen.Int[0, 2], AnyRow).Array[1, 40];

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task CoalescedBatches_LeaveRedisAsTheirRowsOneByOneDo(RedisKind kind)
    {
        // The first one who asks starts the server, or skips.
        await servers.ConnectAsync(kind);
        await Gen.Select(Rows, Gen.Int[1, 15].Array[1, 8], Gen.Int[1, 7]).SampleAsync(
            async (rows, sizes, retention) =>
            {
                var coalesced = await servers.StagesAsync(kind, retention);
                var oneByOne = await servers.StagesAsync(kind, retention);
                var model = new RedisModel(retention);

                // One batch, filled and cleared again and again as the flush worker does.
                var partitions = Enumerable.Range(0, 3).Select(number => TestRows.Partition(number)).ToArray();
                var batch = new Batch();
                var offset = 0;
                foreach (var chunk in Chunks(rows, sizes))
                {
                    foreach (var (partition, row) in chunk)
                    {
                        batch.Add(row.At(partitions[partition], offset++), 0);
                        model.Apply(row);
                        if (row.Kind is not (RowKind.Rejected or RowKind.Skipped))
                        {
                            await oneByOne.WriteAsync(row);
                        }
                    }

                    await coalesced.Store.WriteAsync(batch);
                    batch.Clear();
                }

                var expected = model.Content();
                Assert.Equal(expected, await coalesced.ContentAsync());
                Assert.Equal(expected, await oneByOne.ContentAsync());
            },
            iter: 60, print: input => $"{Show(input.Item1)}\n sizes {string.Join(',', input.Item2)}, retention {input.Item3}");
    }

    [Fact]
    public void RevokedPartitions_LeaveNothingInABatch_AndRemoveNothingOfOthers() =>
        Gen.Select(Rows, Rows, Gen.Bool.Array[3], Gen.Bool.Array[3]).Sample(
            (rows, later, letGoBetween, letGoAtLast) =>
            {
                var partitions = Enumerable.Range(0, 3).Select(number => TestRows.Partition(number)).ToArray();
                var batch = new Batch();
                var last = new Dictionary<(WindowKey, string), (long Bits, int Partition)>();
                var sessions = new List<(int Partition, Session Row)>();
                var offset = 0;
                Add(rows);
                Revoke(letGoBetween);
                Add(later);
                Revoke(letGoAtLast);

                batch.DropRevoked();

                var expected = last.Where(field => partitions[field.Value.Partition].Owned).ToDictionary(field => field.Key, field => field.Value.Bits);
                Assert.Equal(expected, Flat(batch));
                Assert.Equal(
                    sessions.Where(session => partitions[session.Partition].Owned).GroupBy(session => session.Row.Id)
                        .ToDictionary(rows => rows.Key, rows => rows.Select(session => session.Row).Aggregate((session, row) => session.With(row))),
                    batch.Sessions.ToDictionary(write => write.Key, write => write.Value.EndedAfter(0)!));
                Assert.All(batch.Windows, window => Assert.NotEmpty(window.Value));
                Assert.All(batch.Ranges, range => Assert.True(range.Partition.Owned));
                Assert.All(batch.DeadLetters, letter => Assert.True(letter.Partition.Owned));

                void Add((int Partition, Row Row)[] added)
                {
                    foreach (var (partition, row) in added)
                    {
                        batch.Add(row.At(partitions[partition], offset++), 0);
                        if (row.Session is { } session && partitions[partition].Owned)
                        {
                            sessions.Add((partition, session));
                        }

                        if (row.Dimension is { } dimension && partitions[partition].Owned)
                        {
                            var window = new WindowKey(row.Kind, row.WindowStart);
                            if (row.Measures.HasFirst)
                            {
                                last[(window, dimension.First.ToString())] = (row.Measures.First, partition);
                            }

                            if (row.Measures.HasSecond)
                            {
                                last[(window, dimension.Second.ToString())] = (row.Measures.Second, partition);
                            }
                        }
                    }
                }

                void Revoke(bool[] which)
                {
                    foreach (var (partition, go) in partitions.Zip(which))
                    {
                        if (go)
                        {
                            partition.Revoke();
                        }
                    }
                }
            },
            iter: 5000, print: input => $"{Show(input.Item1)}\n let go {string.Join(',', input.Item3)}\n{Show(input.Item2)}\n let go {string.Join(',', input.Item4)}");

    private static string Show((int Partition, Row Row)[] rows) =>
        string.Join('\n', rows.Select(row => $"partition {row.Partition}: {TestRows.Show(row.Row)}"));

    /// <summary>Cuts rows into batches, over and over by these sizes.</summary>
    private static IEnumerable<(int Partition, Row Row)[]> Chunks((int Partition, Row Row)[] rows, int[] sizes)
    {
        for (var (from, next) = (0, 0); from < rows.Length; from += sizes[next++ % sizes.Length])
        {
            yield return rows[from..Math.Min(rows.Length, from + sizes[next % sizes.Length])];
        }
    }

    private static Dictionary<(WindowKey, string), long> Flat(Batch batch)
    {
        var flat = new Dictionary<(WindowKey, string), long>();
        foreach (var (window, fields) in batch.Windows)
        {
            foreach (var (dimension, field) in fields)
            {
                if (field.Measures.HasFirst)
                {
                    flat.Add((window, dimension.First.ToString()), field.Measures.First);
                }

                if (field.Measures.HasSecond)
                {
                    flat.Add((window, dimension.Second.ToString()), field.Measures.Second);
                }
            }
        }

        return flat;
    }
}
