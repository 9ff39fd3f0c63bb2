using Cache.Service.Options;

namespace Cache.Service.Http;

/// <summary>Registers what routes and streams share.</summary>
internal static class HttpSetup
{
    public static void AddHttp(this WebApplicationBuilder builder)
    {
        // Not in appsettings.json, where it would override ASPNETCORE_URLS.
        if (!HostSettings.NamesAddress(builder.Configuration))
        {
            builder.WebHost.UseUrls("http://*:8080");
        }

        builder.Services.AddProblemDetails();
        builder.Services.AddSingleton<AnswerMetrics>();
        builder.Services.AddSingleton<LargeReads>();
        builder.Services.AddSingleton<StreamMetrics>();
        builder.Services.AddSingleton<UpdateHub>();
        builder.Services.AddHostedService(services => services.GetRequiredService<UpdateHub>());
    }
}
