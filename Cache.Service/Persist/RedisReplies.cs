using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>Looks at the replies of a pipeline.</summary>
internal static class RedisReplies
{
    /// <summary>Waits for every reply, whatever it is; each is looked at afterwards.</summary>
    public static async Task Settle(IEnumerable<Task> replies)
    {
        foreach (var reply in replies)
        {
            await reply.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        }
    }

    /// <summary>Throws the first failure among replies that are there.</summary>
    public static void ThrowIfAnyFailed(params ReadOnlySpan<Task> replies)
    {
        foreach (var reply in replies)
        {
            reply.GetAwaiter().GetResult();
        }
    }

    /// <summary>The fields of a hash; none when the key holds another type, and so is somebody else's.</summary>
    public static async Task<HashEntry[]> FieldsAsync(Task<HashEntry[]> read)
    {
        try
        {
            return await read;
        }
        catch (RedisServerException exception) when (RedisErrors.IsWrongType(exception))
        {
            return [];
        }
    }

    /// <summary>How many fields a hash has; none when the key holds another type, and so is somebody else's.</summary>
    public static async Task<long> LengthAsync(Task<long> read)
    {
        try
        {
            return await read;
        }
        catch (RedisServerException exception) when (RedisErrors.IsWrongType(exception))
        {
            return 0;
        }
    }

    /// <summary>Whether the key of a command holds another type.</summary>
    public static bool MetWrongType(Task reply) => reply.Exception?.InnerException is { } exception && RedisErrors.IsWrongType(exception);
}
