using Cache.Metrics;
using Cache.Service.Model;
using Cache.Service.Partitions;
using Cache.Tests.Persist;
using CsCheck;

namespace Cache.Tests.Flush;

/// <summary>Coalescing saves writes and changes nothing else.</summary>
public sealed class CoalescingProperties(RedisServers servers)
{
    // The defaults, and types with one and with eight measures.
    private static readonly MetricType[] Types = [.. MetricType.Defaults, DrawnTypes.Draw(new Random(1), 0, measures: 1), DrawnTypes.Draw(new Random(2), 1, measures: 8)];

    private static readonly Gen<Row> WindowRow =
        from type in Gen.OneOf(Types)
        from window in Gen.Long[1, 6]
        from dimension in Gen.OneOf("a", "b", "ü x")
        from values in Gen.Long[0, 9].Array[type.Measures.Count]
        from has in Gen.Int[1, (1 << type.Measures.Count) - 1]
        select TestRows.Window(type, window, dimension, [.. values.Select((value, number) => (has & (1 << number)) == 0 ? (long?)null
            : type.Measures[number].Kind == MeasureKind.Count ? value : BitConverter.DoubleToInt64Bits(number % 2 == 0 ? value / 8.0 : value * 1e20))]);

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
                        model.Apply(row);
                        if (row.Kind is not (RowKind.Rejected or RowKind.Skipped))
                        {
                            await oneByOne.WriteAsync(Copy(row));
                        }

                        batch.Add(Copy(row).At(partitions[partition], offset++), 0);
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
                Assert.All(batch.Windows, window => Assert.NotEqual(0, window.Value.Count));
                Assert.All(batch.Ranges, range => Assert.True(range.Partition.Owned));
                Assert.All(batch.DeadLetters, letter => Assert.True(letter.Partition.Owned));

                void Add((int Partition, Row Row)[] added)
                {
                    foreach (var (partition, row) in added)
                    {
                        var values = Values(row);
                        batch.Add(Copy(row).At(partitions[partition], offset++), 0);
                        if (row.Session is { } session && partitions[partition].Owned)
                        {
                            sessions.Add((partition, session));
                        }

                        if (row.Dimension is { } dimension && partitions[partition].Owned)
                        {
                            foreach (var (number, value) in values)
                            {
                                last[(row.Key, dimension.Fields[number].ToString())] = (value, partition);
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

    /// <summary>A row of its own: adding one to a batch releases its measures, and a shrinking property runs with the same rows again.</summary>
    private static Row Copy(Row row) => row.Dimension is { } dimension
        ? TestRows.Window(dimension.Type, row.WindowStart, dimension.Name, [.. dimension.Type.Measures.Select((_, number) => row.Measures.Has(number) ? row.Measures[number] : (long?)null)])
        : row;

    private static List<(int Number, long Value)> Values(Row row) =>
        [.. Enumerable.Range(0, row.Dimension?.Type.Measures.Count ?? 0).Where(row.Measures.Has).Select(number => (number, row.Measures[number]))];

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
        foreach (var (window, write) in batch.Windows)
        {
            foreach (var dimension in write.Dimensions)
            {
                for (var number = 0; number < window.Type.Measures.Count; number++)
                {
                    if (write.Value(dimension, number) is { } value)
                    {
                        flat.Add((window, dimension.Fields[number].ToString()), value);
                    }
                }
            }
        }

        return flat;
    }
}
