using System.Security.Claims;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using Cache.Service.Options;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;

namespace Cache.Service.Http.Access;

/// <summary>The keys in <c>api_keys</c>, held as hashes.</summary>
internal sealed class ApiKeys(CacheOptions options)
{
    /// <summary>The request header that carries the key.</summary>
    public const string Header = "X-Api-Key";

    private readonly byte[][] _hashes = [.. options.ApiKeys.Select(key => SHA256.HashData(Encoding.UTF8.GetBytes(key)))];

    /// <summary>Returns the number of the matching key, from 1, or 0 if there is none. Takes the same time either way.</summary>
    public int Find(string presented)
    {
        // Comparing hashes keeps the key's length and the first wrong character from showing in the timing.
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(presented), hash);
        var found = 0;
        for (var number = 1; number <= _hashes.Length; number++)
        {
            if (CryptographicOperations.FixedTimeEquals(hash, _hashes[number - 1]))
            {
                found = number;
            }
        }

        return found;
    }
}

/// <summary>Authenticates a request by its API key.</summary>
internal sealed class ApiKeyHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory loggers, UrlEncoder encoder, ApiKeys keys)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, loggers, encoder)
{
    /// <summary>The name of the authentication scheme.</summary>
    public const string SchemeName = "ApiKey";

    /// <inheritdoc/>
    protected override Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        var presented = Request.Headers[ApiKeys.Header];
        if (presented.Count == 0)
        {
            return Task.FromResult(AuthenticateResult.NoResult());
        }

        if (presented is not [{ } key] || keys.Find(key) is not (> 0 and var number))
        {
            return Task.FromResult(AuthenticateResult.Fail("unknown API key"));
        }

        var identity = new ClaimsIdentity([new(ClaimTypes.NameIdentifier, $"key {number}")], SchemeName);
        return Task.FromResult(AuthenticateResult.Success(new(new ClaimsPrincipal(identity), SchemeName)));
    }

    /// <inheritdoc/>
    protected override Task HandleChallengeAsync(AuthenticationProperties properties)
    {
        Response.StatusCode = StatusCodes.Status401Unauthorized;
        Response.Headers.WWWAuthenticate = SchemeName;
        return Task.CompletedTask;
    }
}
