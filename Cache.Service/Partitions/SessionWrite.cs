using Cache.Service.Model;

namespace Cache.Service.Partitions;

/// <summary>What a batch writes for one session: its rows in order, merged where possible.</summary>
internal sealed class SessionWrite
{
    private readonly List<(AssignedPartition From, Session Row)> _parts = new(1);

    /// <summary>Adds a row, and merges it into the previous one if possible.</summary>
    /// <returns>Whether it was kept separate, because it may be the only one written in the end.</returns>
    public bool Add(Session row, AssignedPartition from)
    {
        // Not merged with a row of another partition, which may be revoked, nor with a row that ends later, which may still be
        // active when this one no longer is.
        if (_parts is [.., var last] && ReferenceEquals(last.From, from) && row.End >= last.Row.End)
        {
            _parts[^1] = (from, last.Row.With(row));
            return false;
        }

        _parts.Add((from, row));
        return true;
    }

    /// <summary>Merges the rows that end after a given time; null if none does.</summary>
    /// <param name="time">Milliseconds since 1970 UTC.</param>
    public Session? EndedAfter(long time)
    {
        Session? session = null;
        foreach (var (_, row) in _parts)
        {
            if (row.End > time)
            {
                session = session?.With(row) ?? row;
            }
        }

        return session;
    }

    /// <summary>Whether no row is left.</summary>
    public bool IsEmpty => _parts.Count == 0;

    /// <summary>Removes the rows from partitions no longer owned.</summary>
    /// <returns>The number of rows removed.</returns>
    public int DropRevoked() => _parts.RemoveAll(part => !part.From.Owned);
}
