using Cache.Service.Options;

namespace Cache.Service.Http.Access;

/// <summary>Limits the open streams: in all (<c>stream_max_clients</c>), and per client (<c>stream_max_clients_per_client</c>).</summary>
internal sealed class StreamLimiter(CacheOptions options)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _byClient = [];
    private int _all;

    /// <summary>Admits a stream of a client; each that was admitted ends with <see cref="Leave"/>.</summary>
    public StreamAdmission Enter(string client)
    {
        lock (_gate)
        {
            if (_all >= options.StreamMaxClients)
            {
                return StreamAdmission.ReplicaIsFull;
            }

            var own = _byClient.GetValueOrDefault(client);
            if (own >= options.StreamMaxClientsPerClient)
            {
                return StreamAdmission.ClientIsAtLimit;
            }

            _byClient[client] = own + 1;
            _all++;
            return StreamAdmission.Admitted;
        }
    }

    /// <summary>A stream has ended.</summary>
    public void Leave(string client)
    {
        lock (_gate)
        {
            _all--;
            if (--_byClient[client] == 0)
            {
                _byClient.Remove(client);
            }
        }
    }
}

/// <summary>Whether a stream is admitted.</summary>
internal enum StreamAdmission
{
    /// <summary>It is.</summary>
    Admitted,

    /// <summary>The replica has <c>stream_max_clients</c> streams open.</summary>
    ReplicaIsFull,

    /// <summary>The client has <c>stream_max_clients_per_client</c> streams open.</summary>
    ClientIsAtLimit,
}
