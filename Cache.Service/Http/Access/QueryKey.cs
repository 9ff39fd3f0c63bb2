using System.Buffers;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace Cache.Service.Http.Access;

/// <summary>
/// A browser's EventSource cannot set headers, so <c>/stream</c>, and no other route, accepts the key as <c>?api_key=…</c>.
/// The key is moved into its header before ASP.NET sees the request, so no log or trace can contain it. On any other route,
/// or under a similar name, it is removed.
/// </summary>
internal sealed class QueryKey(IServiceProvider services) : IHttpContextFactory
{
    /// <summary>The query parameter.</summary>
    public const string Parameter = "api_key";

    /// <summary>The route that accepts it.</summary>
    public const string StreamPath = "/stream";

    // Names that people use for a key or token, without punctuation.
    private static readonly string[] SecretNames = ["apikey", "apikeys", "xapikey", "accesstoken", "authorization", "bearer"];

    // A query without any of these contains none of those names, escaped or not.
    private static readonly SearchValues<string> Hints = SearchValues.Create(["key", "token", "auth", "bearer", "%"], StringComparison.OrdinalIgnoreCase);

    private readonly DefaultHttpContextFactory _factory = new(services);

    /// <inheritdoc/>
    public HttpContext Create(IFeatureCollection featureCollection)
    {
        if (featureCollection.Get<IHttpRequestFeature>() is { } request)
        {
            if (request.QueryString.AsSpan().ContainsAny(Hints))
            {
                MoveOutOfQuery(request);
            }

            CutPath(request);
        }

        return _factory.Create(featureCollection);
    }

    /// <inheritdoc/>
    public void Dispose(HttpContext httpContext) => _factory.Dispose(httpContext);

    private static void MoveOutOfQuery(IHttpRequestFeature request)
    {
        var query = QueryHelpers.ParseQuery(request.QueryString);
        var kept = query.Where(parameter => !IsSecret(parameter.Key)).ToList();
        if (kept.Count == query.Count)
        {
            return;
        }

        request.QueryString = QueryString.Create(kept).ToUriComponent();
        request.RawTarget = new PathString(request.Path).ToUriComponent() + request.QueryString;
        if (query.TryGetValue(Parameter, out var key)
            && request.Path.TrimEnd('/').Equals(StreamPath, StringComparison.OrdinalIgnoreCase) && !request.Headers.ContainsKey(ApiKeys.Header))
        {
            request.Headers[ApiKeys.Header] = key;
        }
    }

    /// <summary>Cuts off a query that ended up in the path because the client escaped or forgot the question mark.</summary>
    private static void CutPath(IHttpRequestFeature request)
    {
        if (request.Path.IndexOf('=', StringComparison.Ordinal) is >= 0 and var at)
        {
            request.Path = request.Path[..at];
            request.RawTarget = new PathString(request.Path).ToUriComponent() + request.QueryString;
        }
    }

    private static bool IsSecret(string name)
    {
        // A name that is escaped twice is not our parameter, but it would still end up in the log.
        for (var passes = 2; passes > 0 && name.Contains('%', StringComparison.Ordinal); passes--)
        {
            name = Uri.UnescapeDataString(name);
        }

        return SecretNames.Contains(string.Concat(name.Where(char.IsAsciiLetterOrDigit)), StringComparer.OrdinalIgnoreCase);
    }
}
