using System.Globalization;
using System.Threading.RateLimiting;
using Cache.Service.Options;
using Cache.Service.Telemetry;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Net.Http.Headers;

namespace Cache.Service.Http.Access;

/// <summary>Authentication, rate limits and request limits for the data routes and the stream. Health routes stay open.</summary>
internal static partial class AccessSetup
{
    private const string KeyOrToken = "key or token";
    private const string RateLimit = "client";

    private static readonly string[] LocalHosts = ["localhost", "*.localhost", "127.0.0.1", "[::1]"];

    public static void AddAccess(this WebApplicationBuilder builder, CacheOptions options)
    {
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.ConfigureEndpointDefaults(listen => listen.Use(kestrel.ApplicationServices.GetRequiredService<ConnectionLimiter>().Limit));

            // No route accepts a body. A token with many groups is about 10 kB, and the default limit for all headers is 32 KiB.
            kestrel.Limits.MaxRequestBodySize = 16 * 1024;
            kestrel.Limits.MaxRequestHeaderCount = 64;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
        });

        builder.Services.PostConfigure<LoggerFilterOptions>(KestrelLogs.Cap);
        builder.ListenForProbes(options);
        builder.Services.AddSingleton<AccessMetrics>();
        builder.Services.AddSingleton<ConnectionLimiter>();
        builder.Services.AddSingleton<SocketTransportFactory>();
        builder.Services.AddSingleton<IConnectionListenerFactory, AcceptGate>();
        builder.Services.AddSingleton<IHttpContextFactory, QueryKey>();
        builder.Services.AddSingleton<StreamLimiter>();
        AllowHosts(builder);
        AddAuthentication(builder, options);
        AddRateLimit(builder, options);
        if (options.CorsOrigins.Count > 0)
        {
            builder.Services.AddCors(cors => cors.AddDefaultPolicy(policy => policy
                .WithOrigins([.. options.CorsOrigins])
                .WithMethods(HttpMethods.Get, HttpMethods.Head)
                .WithHeaders(ApiKeys.Header, HeaderNames.Authorization, HeaderNames.Accept, HeaderNames.IfNoneMatch, "Last-Event-ID")
                .WithExposedHeaders(HeaderNames.ETag, HeaderNames.RetryAfter)
                .SetPreflightMaxAge(TimeSpan.FromHours(1))));
        }
    }

    /// <summary>Adds the middleware in request order: headers, errors, CORS (a preflight carries no key), authentication, rate limit, authorization.</summary>
    public static void UseAccess(this WebApplication app, CacheOptions options)
    {
        app.UseHealthPort(options);
        app.UseSecurityHeaders();
        app.UseExceptionHandler();
        app.UseStatusCodePages();
        if (options.CorsOrigins.Count > 0)
        {
            app.UseCors();
        }

        if (options.IsProtected)
        {
            app.UseAuthentication();
        }
        else
        {
            // On loopback only, open data is no reason for a warning.
            var level = HostSettings.IsLoopbackOnly(app.Configuration, out _) ? LogLevel.Information : LogLevel.Warning;
            app.Lifetime.ApplicationStarted.Register(() => OpenToAll(app.Logger, level));
        }

        // Before authorization, so that guessing keys is rate-limited, too.
        if (options.RateLimitPerSecond > 0)
        {
            app.UseRateLimiter();
        }

        if (options.IsProtected)
        {
            app.UseAuthorization();
        }
    }

    /// <summary>Maps the group of data routes: they require a key or token if any are configured, and are rate-limited.</summary>
    public static RouteGroupBuilder MapProtected(this IEndpointRouteBuilder routes, CacheOptions options)
    {
        var data = routes.MapGroup("").WithMetadata(DescribedAnswer.UnknownParameter);
        if (options.IsProtected)
        {
            data.RequireAuthorization(KeyOrToken).WithMetadata(DescribedAnswer.Unauthorized);
        }

        data.LimitRate(options);
        data.AnswerHead();
        data.RefuseUnknownParameters();
        return data;
    }

    /// <summary>Applies the rate limit, if one is configured. For routes whose answer is built on every request.</summary>
    public static void LimitRate(this IEndpointConventionBuilder routes, CacheOptions options)
    {
        if (options.RateLimitPerSecond > 0)
        {
            routes.RequireRateLimiting(RateLimit).WithMetadata(DescribedAnswer.TooMany);
        }
    }

    /// <summary>
    /// A service on loopback is still reachable from any web page open on this machine, through a host name that the page's
    /// owner points at 127.0.0.1 (DNS rebinding). On loopback only, therefore, answer only to this machine's own names.
    /// </summary>
    private static void AllowHosts(WebApplicationBuilder builder)
    {
        if (builder.Configuration["AllowedHosts"] is null && HostSettings.IsLoopbackOnly(builder.Configuration, out var hosts))
        {
            builder.Configuration["AllowedHosts"] = string.Join(';', hosts.Concat(LocalHosts).Distinct(StringComparer.OrdinalIgnoreCase));
        }
    }

    private static void AddAuthentication(WebApplicationBuilder builder, CacheOptions options)
    {
        if (!options.IsProtected)
        {
            return;
        }

        var authentication = builder.Services.AddAuthentication(KeyOrToken).AddPolicyScheme(KeyOrToken, null, either =>
            either.ForwardDefaultSelector = context => SchemeOf(context, options));
        if (options.ApiKeys.Count > 0)
        {
            builder.Services.AddSingleton<ApiKeys>();
            authentication.AddScheme<AuthenticationSchemeOptions, ApiKeyHandler>(ApiKeyHandler.SchemeName, null);
        }

        if (options.AcceptsTokens)
        {
            // Reads Authentication:Schemes:Bearer on its own. Why a token is invalid goes to the log, never to the client.
            authentication.AddJwtBearer(token => token.IncludeErrorDetails = false);
        }

        // Authentication brings data protection, which at every start looks for its keys in the home folder, writes new ones, and warns if it
        // cannot encrypt or keep them. Cookies need them; there are none here.
        var keysOnDisk = builder.Services.Single(service =>
            service.ServiceType == typeof(IHostedService) && service.ImplementationType?.Assembly == typeof(IDataProtectionBuilder).Assembly);
        builder.Services.Remove(keysOnDisk);

        builder.Services.AddAuthorizationBuilder()
            .AddPolicy(KeyOrToken, new AuthorizationPolicyBuilder(KeyOrToken).RequireAuthenticatedUser().Build());
    }

    private static string SchemeOf(HttpContext context, CacheOptions options) =>
        options.ApiKeys.Count == 0 ? JwtBearerDefaults.AuthenticationScheme
        : !options.AcceptsTokens || context.Request.Headers.ContainsKey(ApiKeys.Header) ? ApiKeyHandler.SchemeName
        : context.Request.Headers.ContainsKey(HeaderNames.Authorization) ? JwtBearerDefaults.AuthenticationScheme
        : ApiKeyHandler.SchemeName;

    private static void AddRateLimit(WebApplicationBuilder builder, CacheOptions options)
    {
        if (options.RateLimitPerSecond == 0)
        {
            return;
        }

        builder.Services.AddRateLimiter(limiter =>
        {
            limiter.RejectionStatusCode = StatusCodes.Status429TooManyRequests;
            limiter.OnRejected = (rejected, _) =>
            {
                // Whole seconds. The status code pages add the body.
                var wait = rejected.Lease.TryGetMetadata(MetadataName.RetryAfter, out var known) ? known : TimeSpan.FromSeconds(1);
                rejected.HttpContext.Response.Headers.RetryAfter =
                    Math.Max(1, (long)Math.Ceiling(wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
                return ValueTask.CompletedTask;
            };
            limiter.AddPolicy(RateLimit, context => RateLimitPartition.GetTokenBucketLimiter(Clients.Of(context), _ => new()
            {
                TokenLimit = options.RateLimitBurst > 0 ? options.RateLimitBurst : options.RateLimitPerSecond,
                TokensPerPeriod = options.RateLimitPerSecond,
                ReplenishmentPeriod = TimeSpan.FromSeconds(1),
                QueueLimit = 0,
                AutoReplenishment = true,
            }));
        });
    }

    [LoggerMessage(EventId = EventIds.Protect + 1, Message = "Data routes are open to anyone who can reach the service. To protect them, set api_keys or Authentication:Schemes:Bearer.")]
    private static partial void OpenToAll(ILogger logger, LogLevel level);
}
