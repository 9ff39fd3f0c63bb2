using Cache.Service.Options;

namespace Cache.Service.Http.Access;

/// <summary>Limits open streams, in total (<c>stream_max_clients</c>) and per client (<c>stream_max_clients_per_client</c>).</summary>
internal sealed class StreamLimiter(CacheOptions options)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _byClient = [];
    private int _total;

    /// <summary>Admits a client's stream, if it is within the limits. Call <see cref="Leave"/> when an admitted stream ends.</summary>
    public StreamAdmission Enter(string client)
    {
        lock (_gate)
        {
            if (_total >= options.StreamMaxClients)
            {
                return StreamAdmission.ReplicaIsFull;
            }

            var own = _byClient.GetValueOrDefault(client);
            if (own >= options.StreamMaxClientsPerClient)
            {
                return StreamAdmission.ClientIsAtLimit;
            }

            _byClient[client] = own + 1;
            _total++;
            return StreamAdmission.Admitted;
        }
    }

    /// <summary>Counts out a stream that has ended.</summary>
    public void Leave(string client)
    {
        lock (_gate)
        {
            _total--;
            if (--_byClient[client] == 0)
            {
                _byClient.Remove(client);
            }
        }
    }
}

/// <summary>Whether a stream was admitted, or why not.</summary>
internal enum StreamAdmission
{
    /// <summary>It was.</summary>
    Admitted,

    /// <summary>The replica has <c>stream_max_clients</c> streams open.</summary>
    ReplicaIsFull,

    /// <summary>The client has <c>stream_max_clients_per_client</c> streams open.</summary>
    ClientIsAtLimit,
}
