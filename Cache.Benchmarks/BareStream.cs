using System.Collections.Concurrent;
using System.Text;
using System.Threading.Channels;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Cache.Benchmarks;

/// <summary>
/// The least a stream can cost: a Kestrel endpoint that writes prepared bytes from memory to each client. No Redis, no
/// filters, no ids to resume from, no history.
/// </summary>
internal static class BareStream
{
    public static async Task RunAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.AddFilter("Microsoft.AspNetCore", LogLevel.Warning);
        await using var app = builder.Build();
        var clients = new ConcurrentDictionary<Channel<byte[]>, bool>();
        app.MapGet("/stream", async (HttpContext context) =>
        {
            var events = Channel.CreateBounded<byte[]>(new BoundedChannelOptions(256) { SingleReader = true });
            clients[events] = true;
            context.Response.ContentType = "text/event-stream";
            await context.Response.Body.FlushAsync();
            try
            {
                while (await events.Reader.WaitToReadAsync(context.RequestAborted))
                {
                    while (events.Reader.TryRead(out var bytes))
                    {
                        await context.Response.Body.WriteAsync(bytes);
                    }

                    await context.Response.Body.FlushAsync();
                }
            }
            catch (OperationCanceledException)
            {
                // The client disconnected.
            }
            finally
            {
                clients.TryRemove(events, out _);
            }
        });
        _ = Task.Run(() => StreamVerb.TickAsync(
            number =>
            {
                byte[] bytes = [.. "data: "u8, .. StreamVerb.Message(), .. "\nid: 01234567-"u8, .. Encoding.ASCII.GetBytes($"{number}"), .. "\n\n"u8];
                foreach (var (events, _) in clients)
                {
                    events.Writer.TryWrite(bytes);
                }
            },
            app.Lifetime.ApplicationStopping));
        await app.RunAsync();
    }
}
