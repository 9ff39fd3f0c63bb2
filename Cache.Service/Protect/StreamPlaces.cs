namespace Cache.Service.Protect;

/// <summary>Counts the open streams, in all (<c>stream_max_clients</c>) and a client (<c>stream_max_clients_per_client</c>).</summary>
internal sealed class StreamPlaces(CacheOptions options)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _byClient = [];
    private int _all;

    /// <summary>Takes a place for a client; <see cref="Leave"/> gives it back when it was got.</summary>
    public Place Enter(string client)
    {
        lock (_gate)
        {
            if (_all >= options.StreamMaxClients)
            {
                return Place.AllTaken;
            }

            var own = _byClient.GetValueOrDefault(client);
            if (own >= options.StreamMaxClientsPerClient)
            {
                return Place.OwnTaken;
            }

            _byClient[client] = own + 1;
            _all++;
            return Place.Got;
        }
    }

    /// <summary>Gives a place back.</summary>
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

/// <summary>Whether there was a place for a stream.</summary>
internal enum Place
{
    /// <summary>There was.</summary>
    Got,

    /// <summary>This replica has as many streams as it takes.</summary>
    AllTaken,

    /// <summary>The client has as many as one may have.</summary>
    OwnTaken,
}
