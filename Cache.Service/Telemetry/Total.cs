using System.Collections.Frozen;
using System.Diagnostics.Metrics;
using System.Text.Json;

namespace Cache.Service.Telemetry;

/// <summary>A sum that is reported from the start, even while it is 0.</summary>
internal sealed class Total
{
    private long _value;

    /// <summary>The sum.</summary>
    public long Value => Volatile.Read(ref _value);

    /// <summary>Adds to the sum.</summary>
    public void Add(long number) => Interlocked.Add(ref _value, number);
}

/// <summary>One sum per reason; every reason is reported from the start.</summary>
internal sealed class TotalByReason<TReason>
    where TReason : struct, Enum
{
    private readonly FrozenDictionary<TReason, Total> _totals = Enum.GetValues<TReason>().ToFrozenDictionary(reason => reason, _ => new Total());

    /// <summary>Counts one.</summary>
    public void Increment(TReason reason) => _totals[reason].Add(1);

    /// <summary>Gets the sums, labelled by <c>reason</c>.</summary>
    public IEnumerable<Measurement<long>> Measure() => _totals.Select(total => new Measurement<long>(
        total.Value.Value, new KeyValuePair<string, object?>("reason", JsonNamingPolicy.SnakeCaseLower.ConvertName(total.Key.ToString()))));
}
