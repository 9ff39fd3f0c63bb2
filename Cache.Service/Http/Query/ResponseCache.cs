using System.Collections.Concurrent;
using Cache.Service.Model;

namespace Cache.Service.Http.Query;

/// <summary>
/// Keeps answers ready for as long as nothing has changed: until an update of a type that they are of, a gap in the updates, or
/// <see cref="MaxAge"/> (docs/decisions/0011). Who asks while an answer is being read waits for the same read, unless an
/// update came since it began.
/// </summary>
internal sealed class ResponseCache(UpdateHub hub, TimeProvider time)
{
    /// <summary>Answers kept at most, and the longest of them: together 32 MB of answers.</summary>
    public const int MaxAnswers = 32;

    /// <inheritdoc cref="MaxAnswers"/>
    public const int MaxBytes = 1024 * 1024;

    /// <summary>
    /// What no update tells is seen after this: a window that expires, a Redis that was emptied, one that stands still. With the
    /// time that a read takes at most it stays within the second after which a reader is told that Redis is away.
    /// </summary>
    public static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(0.1);

    private readonly ConcurrentDictionary<WindowQuery, Kept> _kept = new();
    private readonly Lock _gate = new();

    /// <summary>The answer to a question: the one that is kept, or else what a read gives.</summary>
    public Task<Answer> GetAsync(WindowQuery question, Func<WindowQuery, Task<Answer>> read) =>
        (_kept.TryGetValue(question, out var kept) && IsCurrent(question, kept) ? kept : Next(question, read)).Answer;

    /// <summary>An answer that is read now, or is being read since somebody else was a moment earlier.</summary>
    private Kept Next(WindowQuery question, Func<WindowQuery, Task<Answer>> read)
    {
        // All that is looked at comes before the read: what changes during it is not missed.
        var next = new Kept(LastUpdateOf(question), time.GetTimestamp(), kept => ReadAsync(question, kept, read));
        if (!hub.IsListening)
        {
            return next;
        }

        lock (_gate)
        {
            if (_kept.TryGetValue(question, out var kept) && IsCurrent(question, kept))
            {
                return kept;
            }

            if (_kept.Count >= MaxAnswers)
            {
                _kept.Clear();
            }

            return _kept[question] = next;
        }
    }

    private async Task<Answer> ReadAsync(WindowQuery question, Kept kept, Func<WindowQuery, Task<Answer>> read)
    {
        var keep = false;
        try
        {
            var answer = await read(question);
            keep = answer.Length <= MaxBytes;
            return answer;
        }
        finally
        {
            if (!keep)
            {
                _kept.TryRemove(new(question, kept));
            }
        }
    }

    private bool IsCurrent(WindowQuery question, Kept kept) =>
        kept.LastUpdate == LastUpdateOf(question) && time.GetElapsedTime(kept.ReadAt) <= MaxAge;

    private long LastUpdateOf(WindowQuery question) => question.Kind is { } kind
        ? hub.LastOf(kind)
        : Math.Max(hub.LastOf(RowKind.Event), hub.LastOf(RowKind.Performance));

    /// <summary>An answer, or the read that will give it.</summary>
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
