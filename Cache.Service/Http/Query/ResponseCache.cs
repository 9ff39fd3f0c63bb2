using System.Collections.Concurrent;

namespace Cache.Service.Http.Query;

/// <summary>
/// Keeps answers ready while nothing changes: until an update to their type of window, a gap in the updates, or
/// <see cref="MaxAge"/> (docs/decisions/0011). Requests that arrive while an answer is being read share that read, unless an
/// update has arrived since it began.
/// </summary>
internal sealed class ResponseCache(UpdateHub hub, TimeProvider time)
{
    /// <summary>The maximum number of answers, and of bytes per answer: 32 MB in total.</summary>
    public const int MaxAnswers = 32;

    /// <inheritdoc cref="MaxAnswers"/>
    public const int MaxBytes = 1024 * 1024;

    /// <summary>
    /// Some changes come without an update: a window expires, Redis is emptied or freezes. Readers see them after this age at the
    /// latest. Together with the timeout of a read it is less than a second, within which readers get an error if Redis is down.
    /// </summary>
    public static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(0.1);

    private readonly ConcurrentDictionary<WindowQuery, Kept> _kept = new();
    private readonly Lock _gate = new();

    /// <summary>The answer to a query: the kept one, or else the result of a read.</summary>
    public Task<Answer> GetAsync(WindowQuery query, Func<WindowQuery, Task<Answer>> read) =>
        (_kept.TryGetValue(query, out var kept) && IsCurrent(query, kept) ? kept : Next(query, read)).Answer;

    /// <summary>Starts a read, or joins one that another request has started a moment earlier.</summary>
    private Kept Next(WindowQuery query, Func<WindowQuery, Task<Answer>> read)
    {
        // Note the last update before the read, so that changes during the read are not missed.
        var next = new Kept(LastUpdateOf(query), time.GetTimestamp(), kept => ReadAsync(query, kept, read));
        if (!hub.IsListening)
        {
            return next;
        }

        lock (_gate)
        {
            if (_kept.TryGetValue(query, out var kept) && IsCurrent(query, kept))
            {
                return kept;
            }

            if (_kept.Count >= MaxAnswers)
            {
                _kept.Clear();
            }

            return _kept[query] = next;
        }
    }

    private async Task<Answer> ReadAsync(WindowQuery query, Kept kept, Func<WindowQuery, Task<Answer>> read)
    {
        var keep = false;
        try
        {
            var answer = await read(query);
            keep = answer.Length <= MaxBytes;
            return answer;
        }
        finally
        {
            if (!keep)
            {
                _kept.TryRemove(new(query, kept));
            }
        }
    }

    private bool IsCurrent(WindowQuery query, Kept kept) =>
        kept.LastUpdate == LastUpdateOf(query) && time.GetElapsedTime(kept.ReadAt) <= MaxAge;

    private long LastUpdateOf(WindowQuery query) => query.Type is { } type ? hub.Latest.Of(type) : hub.Latest.OfAny();

    /// <summary>A kept answer, or the read that will produce it.</summary>
    private sealed class Kept
    {
        private readonly Lazy<Task<Answer>> _answer;

        public Kept(long lastUpdate, long readAt, Func<Kept, Task<Answer>> read)
        {
            (LastUpdate, ReadAt) = (lastUpdate, readAt);
            _answer = new(() => read(this));
        }

        public long LastUpdate { get; }

        public long ReadAt { get; }

        public Task<Answer> Answer => _answer.Value;
    }
}
