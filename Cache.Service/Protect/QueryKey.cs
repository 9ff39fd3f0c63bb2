using Cache.Service.Streaming;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace Cache.Service.Protect;

/// <summary>
/// A browser's EventSource cannot set headers: on <c>/stream</c>, and nowhere else, the key may come as <c>?api_key=…</c>.
/// It is moved into its header before anything of ASP.NET sees the request, so that no log and no trace can repeat it; on
/// any other route it is only taken out.
/// </summary>
internal sealed class QueryKey(IServiceProvider services) : IHttpContextFactory
{
    /// <summary>The query parameter.</summary>
    public const string Parameter = "api_key";

    private readonly DefaultHttpContextFactory _factory = new(services);

    /// <inheritdoc/>
    public HttpContext Create(IFeatureCollection featureCollection)
    {
        if (featureCollection.Get<IHttpRequestFeature>() is { } request
            && request.QueryString.Contains(Parameter, StringComparison.OrdinalIgnoreCase))
        {
            Move(request);
        }

        return _factory.Create(featureCollection);
    }

    /// <inheritdoc/>
    public void Dispose(HttpContext httpContext) => _factory.Dispose(httpContext);

    private static void Move(IHttpRequestFeature request)
    {
        var query = QueryHelpers.ParseQuery(request.QueryString);
        if (query.Remove(Parameter, out var key))
        {
            request.QueryString = QueryString.Create(query).ToUriComponent();
            request.RawTarget = new PathString(request.Path).ToUriComponent() + request.QueryString;
            if (request.Path.TrimEnd('/').Equals(StreamApi.Path, StringComparison.OrdinalIgnoreCase) && !request.Headers.ContainsKey(ApiKeys.Header))
            {
                request.Headers[ApiKeys.Header] = key;
            }
        }
    }
}
