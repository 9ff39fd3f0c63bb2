using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Cache.Service.Model;
using Cache.Service.Telemetry;

namespace Cache.Service.Persist;

/// <summary>Metrics of windows, sessions and dead letters.</summary>
internal sealed class PersistMetrics
{
    private readonly ConcurrentDictionary<RejectReason, long> _deadLetters = new();
    private readonly Total _givenUp = new();
    private readonly Total _sessionsInactive = new();
    private readonly Counter<long> _trimmed;

    public PersistMetrics(IMeterFactory meters)
    {
        var meter = ServiceMeter.Of(meters);
        meter.CreateObservableCounter("cache.dead.letters",
            () => _deadLetters.Select(letters => new Measurement<long>(letters.Value, new KeyValuePair<string, object?>("reason", letters.Key.Name()))),
            description: "Rejected rows, by reason.");
        meter.CreateObservableCounter("cache.dead.letters.given.up", () => _givenUp.Value, description: "Rejected rows that not even the dead-letter topic accepted.");
        _trimmed = meter.CreateCounter<long>("cache.windows.trimmed",
            description: "Windows deleted because they were past retention, and sessions deleted because they ended too long ago.");
        meter.CreateObservableCounter("cache.sessions.inactive", () => _sessionsInactive.Value, description: "Sessions not written because they ended too long ago.");
    }

    /// <summary>Rows rejected since startup, by reason.</summary>
    public IReadOnlyDictionary<RejectReason, long> DeadLetterCounts => _deadLetters;

    /// <summary>Rejected rows since startup that not even the dead-letter topic accepted.</summary>
    public long DeadLettersGivenUp => _givenUp.Value;

    public void DeadLetter(RejectReason reason) => _deadLetters.AddOrUpdate(reason, 1, (_, letters) => letters + 1);

    public void DeadLetterGivenUp() => _givenUp.Add(1);

    public void Trimmed(string type, long count)
    {
        if (count > 0)
        {
            _trimmed.Add(count, new KeyValuePair<string, object?>("type", type));
        }
    }

    public void SessionsInactive(int count)
    {
        if (count > 0)
        {
            _sessionsInactive.Add(count);
        }
    }
}
