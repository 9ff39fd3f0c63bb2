using System.Buffers.Binary;
using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Cache.Tests.Telemetry;

/// <summary>Receives telemetry in a test, over OTLP by gRPC and by HTTP, and keeps it.</summary>
internal sealed class OtlpReceiver : IAsyncDisposable
{
    private const int GrpcPrefix = 5;

    private readonly WebApplication _app;
    private readonly ConcurrentQueue<OtlpSpan> _spans = new();
    private readonly ConcurrentQueue<OtlpMetric> _metrics = new();
    private readonly ConcurrentQueue<OtlpLog> _logs = new();
    private readonly ConcurrentQueue<string> _requests = new();
    private readonly ConcurrentQueue<ReadOnlyMemory<byte>> _bodies = new();

    private OtlpReceiver(WebApplication app) => _app = app;

    /// <summary>For OTEL_EXPORTER_OTLP_PROTOCOL=grpc.</summary>
    public string GrpcEndpoint => _app.Urls.First();

    /// <summary>For OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf.</summary>
    public string HttpEndpoint => _app.Urls.Last();

    /// <summary>Path and API key of each request.</summary>
    public IReadOnlyCollection<string> Requests => _requests;

    /// <summary>Each request as it came, to look for what must not be in it.</summary>
    public IReadOnlyCollection<ReadOnlyMemory<byte>> Bodies => _bodies;

    public IReadOnlyCollection<OtlpSpan> Spans => _spans;

    public IReadOnlyCollection<OtlpMetric> Metrics => _metrics;

    public IReadOnlyCollection<OtlpLog> Logs => _logs;

    public static async Task<OtlpReceiver> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            // Without TLS, nothing can be negotiated: a port speaks either HTTP/2, which gRPC needs, or HTTP/1.1.
            kestrel.ListenLocalhostAnyPort(HttpProtocols.Http2);
            kestrel.ListenLocalhostAnyPort(HttpProtocols.Http1);
        });
        var app = builder.Build();
        var receiver = new OtlpReceiver(app);
        receiver.Map("trace", "/v1/traces", request => Keep(receiver._spans, OtlpMessages.Spans(request)));
        receiver.Map("metrics", "/v1/metrics", request => Keep(receiver._metrics, OtlpMessages.Metrics(request)));
        receiver.Map("logs", "/v1/logs", request => Keep(receiver._logs, OtlpMessages.Logs(request)));
        await app.StartAsync();
        return receiver;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private void Map(string signal, string path, Action<ReadOnlyMemory<byte>> keep)
    {
        var service = string.Concat(signal[..1].ToUpperInvariant(), signal.AsSpan(1), "Service");
        _app.MapPost($"/opentelemetry.proto.collector.{signal}.v1.{service}/Export", async (HttpContext context) =>
        {
            var body = await ReadAsync(context);
            var length = BinaryPrimitives.ReadInt32BigEndian(body.Span[1..GrpcPrefix]);
            Assert.Equal(0, body.Span[0]);
            keep(body.Slice(GrpcPrefix, length));
            context.Response.ContentType = "application/grpc";
            context.Response.AppendTrailer("grpc-status", "0");
            await context.Response.Body.WriteAsync(new byte[GrpcPrefix]);
        });
        _app.MapPost(path, async (HttpContext context) =>
        {
            keep(await ReadAsync(context));
            context.Response.ContentType = "application/x-protobuf";
        });
    }

    private async Task<ReadOnlyMemory<byte>> ReadAsync(HttpContext context)
    {
        _requests.Enqueue($"{context.Request.Path} {context.Request.Headers["x-otlp-api-key"]}");
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body);
        _bodies.Enqueue(body.ToArray());
        return body.ToArray();
    }

    private static void Keep<T>(ConcurrentQueue<T> queue, IEnumerable<T> received)
    {
        foreach (var one in received)
        {
            queue.Enqueue(one);
        }
    }
}

internal static class KestrelExtensions
{
    public static void ListenLocalhostAnyPort(this KestrelServerOptions kestrel, HttpProtocols protocols) =>
        kestrel.Listen(System.Net.IPAddress.Loopback, 0, listen => listen.Protocols = protocols);
}
