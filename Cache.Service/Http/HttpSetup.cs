using Cache.Service.Options;

namespace Cache.Service.Http;

/// <summary>Registers what routes and streams share.</summary>
internal static class HttpSetup
{
    public static IServiceCollection AddHttp(this IServiceCollection services) => services
        .AddProblemDetails()
        .AddSingleton<AnswerMetrics>()
        .AddSingleton<LargeReads>()
        .AddSingleton<StreamMetrics>()
        .AddSingleton<UpdateHub>()
        .AddHostedService(provider => provider.GetRequiredService<UpdateHub>());

    /// <summary>Listens on port 8080 unless the configuration names an address.</summary>
    public static void ListenByDefault(this WebApplicationBuilder builder)
    {
        // Not in appsettings.json, where it would override ASPNETCORE_URLS.
        if (!HostSettings.NamesAddress(builder.Configuration))
        {
            builder.WebHost.UseUrls("http://*:8080");
        }
    }
}
