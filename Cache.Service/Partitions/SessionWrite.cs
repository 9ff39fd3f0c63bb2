using System.Diagnostics;
using System.Runtime.InteropServices;
using Cache.Service.Model;

namespace Cache.Service.Partitions;

/// <summary>What a batch says of one session: its rows in their order, those that can be one made one.</summary>
internal sealed class SessionWrite
{
    private readonly List<(AssignedPartition From, Session Row)> _parts = new(1);

    /// <summary>Puts a row over those that are there.</summary>
    /// <returns>Whether it stands beside them, since it may be the only one to be written in the end.</returns>
    public bool Add(Session row, AssignedPartition from)
    {
        // Not over one of another partition, which may be let go; nor over one with a later end, which may be active when
        // this one no longer is.
        if (_parts is [.., var last] && ReferenceEquals(last.From, from) && row.End >= last.Row.End)
        {
            _parts[^1] = (from, last.Row.With(row));
            return false;
        }

        _parts.Add((from, row));
        return true;
    }

    /// <summary>The session, of what ended after a time; null when nothing did.</summary>
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

    /// <summary>Whether nothing is left of it.</summary>
    public bool IsEmpty => _parts.Count == 0;

    /// <summary>Takes out what is from partitions that were let go.</summary>
    /// <returns>How many rows that were.</returns>
    public int DropRevoked() => _parts.RemoveAll(part => !part.From.Owned);
}
