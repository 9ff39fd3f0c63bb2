using System.Security.Cryptography;
using System.Text;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// Stands for the run id of a server that does not tell it: a script in its cache. From Redis 7 on no server writes its scripts to
/// disk or hands them to a replica, so one that is there says that this is the same run; one that is not, that it may not be.
/// </summary>
internal static class RunMark
{
    private const int FirstVersionThatForgets = 7;

    /// <summary>Finds the mark of this run among those that are known, or makes one.</summary>
    /// <returns>Null where the server lets this user do neither, or is too old to be sure of.</returns>
    /// <exception cref="RedisException">The server did not answer.</exception>
    public static async Task<string?> FindOrMakeAsync(IServer server, IEnumerable<string> known)
    {
        try
        {
            if (await VersionAsync(server) < FirstVersionThatForgets)
            {
                return null;
            }

            foreach (var mark in known)
            {
                if (await server.ScriptExistsAsync(Sha1(Script(mark))))
                {
                    return mark;
                }
            }

            var made = $"{Guid.NewGuid():N}";
            await server.ScriptLoadAsync(Script(made));
            return made;
        }
        catch (RedisServerException exception) when (RedisErrors.IsNotPermitted(exception))
        {
            return null;
        }
    }

    /// <summary>The script that is a mark; it is never run.</summary>
    private static string Script(string mark) => $"return '{mark}'";

    private static async Task<int> VersionAsync(IServer server)
    {
        var hello = (await server.ExecuteAsync("HELLO")).ToDictionary();
        return hello.TryGetValue("version", out var version) && int.TryParse(version.ToString().Split('.')[0], out var major) ? major : 0;
    }

#pragma warning disable CA5350 // The name that Redis gives a script; nothing is protected by it.
    private static byte[] Sha1(string script) => SHA1.HashData(Encoding.UTF8.GetBytes(script));
#pragma warning restore CA5350
}
