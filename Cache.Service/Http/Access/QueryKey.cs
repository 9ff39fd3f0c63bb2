using System.Buffers;
using Cache.Service.Options;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace Cache.Service.Http.Access;

/// <summary>
/// A browser's EventSource cannot set headers: on <c>/stream</c>, and nowhere else, the key may come as <c>?api_key=…</c>.
/// It is moved into its header before anything of ASP.NET sees the request, so that no log and no trace can repeat it; on
/// any other route, and under a name that only comes near, it is only taken out.
/// </summary>
internal sealed class QueryKey(IServiceProvider services) : IHttpContextFactory
{
    /// <summary>The query parameter.</summary>
    public const string Parameter = "api_key";

    /// <summary>The route on which it is taken.</summary>
    public const string StreamPath = "/stream";

    // Names without their marks, as people write them for a key or a token.
    private static readonly string[] Secrets = ["apikey", "apikeys", "xapikey", "accesstoken", "authorization", "bearer"];

    // Without one of these there is none of those, however it is escaped.
    private static readonly SearchValues<string> Signs = SearchValues.Create(["key", "token", "auth", "bearer", "%"], StringComparison.OrdinalIgnoreCase);

    private readonly DefaultHttpContextFactory _factory = new(services);

    /// <inheritdoc/>
    public HttpContext Create(IFeatureCollection featureCollection)
    {
        if (featureCollection.Get<IHttpRequestFeature>() is { } request)
        {
            if (request.QueryString.AsSpan().ContainsAny(Signs))
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

    /// <summary>A client that escapes or forgets the question mark puts the query into the path.</summary>
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
        // Escaped twice, it is no parameter of ours, and yet in the log.
        for (var more = 2; more > 0 && name.Contains('%', StringComparison.Ordinal); more--)
        {
            name = Uri.UnescapeDataString(name);
        }

        return Secrets.Contains(string.Concat(name.Where(char.IsAsciiLetterOrDigit)), StringComparer.OrdinalIgnoreCase);
    }
}
