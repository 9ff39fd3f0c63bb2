using Microsoft.Extensions.FileProviders;

namespace Cache.Service.Page;

/// <summary>The live page at <c>/</c>: static files next to the program, which use the API like any other client.</summary>
internal static class PageApi
{
    public static void AddPage(this WebApplicationBuilder builder) =>
        builder.Services.AddResponseCompression(compression =>
        {
            // Only the page's own files: API answers are small or streamed.
            compression.MimeTypes = ["text/html", "text/css", "text/javascript", "image/svg+xml"];
            compression.EnableForHttps = true;
        });

    public static void MapPage(this WebApplication app)
    {
        var files = new FileServerOptions { FileProvider = new PhysicalFileProvider(Path.Combine(AppContext.BaseDirectory, "Page")) };

        // Browsers revalidate on every load, and get 304 unless a new version was installed.
        files.StaticFileOptions.OnPrepareResponse = answer => answer.Context.Response.Headers.CacheControl = "no-cache";
        app.UseResponseCompression();
        app.UseFileServer(files);
    }
}
