using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>Checks the replies of a pipeline.</summary>
internal static class RedisReplies
{
    /// <summary>Waits for every reply without throwing; the caller checks each one afterwards.</summary>
    public static async Task Settle(IEnumerable<Task> replies)
    {
        foreach (var reply in replies)
        {
            await reply.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        }
    }

    /// <summary>Throws the first failure among completed replies.</summary>
    public static void ThrowIfAnyFailed(params ReadOnlySpan<Task> replies)
    {
        foreach (var reply in replies)
        {
            reply.GetAwaiter().GetResult();
        }
    }

    /// <summary>The fields of a hash; empty if the key holds another type and so is not ours.</summary>
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

    /// <summary>The number of fields of a hash; 0 if the key holds another type and so is not ours.</summary>
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

    /// <summary>Whether a command failed because its key holds another type.</summary>
    public static bool MetWrongType(Task reply) => reply.Exception?.InnerException is { } exception && RedisErrors.IsWrongType(exception);
}
