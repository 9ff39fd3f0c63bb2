using System.Security.Cryptography;
using System.Text;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// Substitute for the run id of a server that does not reveal it: a script in its script cache. Since Redis 7, scripts are
/// neither persisted nor replicated, so a script that is still cached proves that the server has not restarted. A missing one
/// means that it may have.
/// </summary>
internal static class RunMark
{
    private const int MinVersion = 7;

    /// <summary>Finds the mark of this run among the known ones, or sets a new one.</summary>
    /// <returns>The mark; null if this user may do neither, or the server is too old.</returns>
    /// <exception cref="RedisException">The server did not answer.</exception>
    public static async Task<string?> FindOrMakeAsync(IServer server, IEnumerable<string> known)
    {
        try
        {
            if (await VersionAsync(server) < MinVersion)
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

    /// <summary>The script that serves as the mark; it is never run.</summary>
    private static string Script(string mark) => $"return '{mark}'";

    private static async Task<int> VersionAsync(IServer server)
    {
        var hello = (await server.ExecuteAsync("HELLO")).ToDictionary();
        return hello.TryGetValue("version", out var version) && int.TryParse(version.ToString().Split('.')[0], out var major) ? major : 0;
    }

#pragma warning disable CA5350 // Redis identifies scripts by SHA-1; this protects nothing.
    private static byte[] Sha1(string script) => SHA1.HashData(Encoding.UTF8.GetBytes(script));
#pragma warning restore CA5350
}
