using System.Diagnostics;
using System.Globalization;
using System.Text;
using Cache.Metrics;
using Cache.Service.Decode;
using Cache.Service.Model;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Decode;

/// <summary>
/// Mutated rows of all topics: no exception, allocations in proportion to the row's size, and the same result as
/// <see cref="DecodeOracle"/>. <c>CACHE_FUZZ_ROWS</c> sets how many rows, <c>CACHE_FUZZ_SEED</c> which; <c>CACHE_FUZZ_ROW</c> runs
/// only one of them.
/// </summary>
[Trait("Category", "Fuzz")]
[Trait("Category", "Long")]
public sealed class DecoderFuzzTests
{
    private const long Now = 1735689600000;

    // A row may allocate some bytes per byte of its own (a JSON error's message quotes the row, and is built in steps; unescape
    // buffers and the reader's stack of levels take less) plus a fixed amount: an exception with its stack trace, or the objects
    // of a dimension or session seen for the first time.
    private const int BytesPerByte = 12;
    private const int FixedBytes = 4096;

    // The defaults, and types drawn by the seed.
    private static readonly long Seed = Setting("CACHE_FUZZ_SEED", 1);

    private static readonly IReadOnlyList<MetricType> Types =
        [.. MetricType.Defaults, .. Enumerable.Range(0, 6).Select(number => DrawnTypes.Draw(new Random((int)Seed + number), number))];

    private static readonly FakeTimeProvider Clock = new(DateTimeOffset.FromUnixTimeMilliseconds(Now));

    [Fact]
    public void MutatedRows_NeverThrow_AllocateWithinBounds_AndMatchTheOracle()
    {
        var only = Setting("CACHE_FUZZ_ROW", -1);
        var rows = only >= 0 ? 1 : Setting("CACHE_FUZZ_ROWS", 100_000);
        var totals = new Totals();
        Warm();
        var started = Stopwatch.GetTimestamp();

        // In shares, each with one long-lived decoder, as in the service, whose dimension tables fill up.
        const long Share = 50_000;
        Parallel.For(0, (rows + Share - 1) / Share, new ParallelOptions { MaxDegreeOfParallelism = 2 }, share =>
        {
            var mutator = new RowMutator((ulong)Seed, Types);
            var longLived = NewDecoder();
            var first = only >= 0 ? only : share * Share;
            for (var number = first; number < Math.Min(first + Share, only >= 0 ? only + 1 : rows); number++)
            {
                Check(mutator, number, longLived, totals);
            }

            if (totals.Rows / 1_000_000 != (totals.Rows - Share) / 1_000_000)
            {
                TestContext.Current.SendDiagnosticMessage("{0}", $"fuzz: {totals} after {Stopwatch.GetElapsedTime(started).TotalSeconds:F0} s");
            }
        });

        TestContext.Current.TestOutputHelper!.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"fuzz: seed {Seed}, {totals}, {Stopwatch.GetElapsedTime(started).TotalSeconds:F0} s"));
        Assert.Equal(rows, totals.Rows);
    }

    private static void Check(RowMutator mutator, long number, RowDecoder longLived, Totals totals)
    {
        var (type, value) = mutator.Row(number);
        try
        {
            var (row, allocated) = Measured(type, value);
            for (var again = 0; allocated > (BytesPerByte * (long)value.Length) + FixedBytes && again < 20; again++)
            {
                // A garbage collection in between counts the unused rest of the thread's allocation buffer, some kilobytes, as allocated.
                (row, allocated) = Measured(type, value);
            }

            var decoded = Decoded.Of(row);
            Assert.Equal(DecodeOracle.Decode(type, value, Now + 86_400_000), decoded);
            Assert.Equal(decoded, Decoded.Of(longLived.Decode(type, value)));
            Assert.InRange(allocated, 0, (BytesPerByte * (long)value.Length) + FixedBytes);
            totals.Add(row.Kind != RowKind.Rejected, allocated - (BytesPerByte * (long)value.Length));
        }
        catch (Exception exception)
        {
            throw new InvalidOperationException(
                $"Row {number} of seed {Seed}, {type?.Name ?? "session"}: {Shown(value)}\nReproduce: CACHE_FUZZ_SEED={Seed} CACHE_FUZZ_ROW={number} dotnet test --filter Category=Fuzz", exception);
        }
    }

    private static (Row Row, long Allocated) Measured(MetricType? type, byte[] value)
    {
        var decoder = NewDecoder();
        var before = GC.GetAllocatedBytesForCurrentThread();
        var row = decoder.Decode(type, value);
        return (row, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    /// <summary>Warms up, so that what is allocated once per thread or process is not counted as a row's.</summary>
    private static void Warm()
    {
        var (mutator, decoder) = (new RowMutator(0, Types), NewDecoder());
        for (var number = 0; number < 2000; number++)
        {
            var (type, value) = mutator.Row(number);
            decoder.Decode(type, value);
        }
    }

    private static RowDecoder NewDecoder() => Decoders.New(Clock, [.. Types.Where(type => !type.IsDefault)]);

    private static string Shown(byte[] value) => value.Length > 2000
        ? $"{value.Length} bytes, starting with {Shown(value[..200])}"
        : $"{Encoding.Latin1.GetString(value)} ({Convert.ToHexString(value)})";

    private static long Setting(string name, long fallback) =>
        long.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? number : fallback;

    private sealed class Totals
    {
        private long _rows;
        private long _accepted;
        private long _mostFixed = long.MinValue;

        public long Rows => Interlocked.Read(ref _rows);

        public void Add(bool accepted, long fixedBytes)
        {
            Interlocked.Increment(ref _rows);
            Interlocked.Add(ref _accepted, accepted ? 1 : 0);
            for (var seen = Interlocked.Read(ref _mostFixed); fixedBytes > seen; seen = Interlocked.Read(ref _mostFixed))
            {
                Interlocked.CompareExchange(ref _mostFixed, fixedBytes, seen);
            }
        }

        public override string ToString() => string.Create(CultureInfo.InvariantCulture,
            $"{_rows} rows, {_accepted} accepted, at most {_mostFixed} bytes allocated beyond {BytesPerByte} per byte of the row");
    }
}
