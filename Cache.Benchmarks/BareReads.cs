using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Cache.Benchmarks;

/// <summary>The least a read can cost: Kestrel endpoints that only return bytes from memory.</summary>
internal static class BareReads
{
    /// <summary>Runs until it is killed.</summary>
    /// <param name="answers">A folder with the answers; the file <c>0</c> is the answer of <c>/0</c>.</param>
    public static async Task RunAsync(string answers)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.AddFilter("Microsoft.AspNetCore", LogLevel.Warning);
        await using var app = builder.Build();
        foreach (var file in Directory.GetFiles(answers))
        {
            var bytes = await File.ReadAllBytesAsync(file);
            app.MapGet($"/{Path.GetFileName(file)}", async (HttpContext context) =>
            {
                context.Response.ContentType = "application/json; charset=utf-8";
                context.Response.ContentLength = bytes.Length;
                await context.Response.BodyWriter.WriteAsync(bytes);
            });
        }

        await app.RunAsync();
    }
}
