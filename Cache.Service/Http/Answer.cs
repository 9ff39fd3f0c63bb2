using System.Buffers;
using System.Buffers.Text;
using System.IO.Hashing;
using System.IO.Pipelines;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Cache.Service.Telemetry;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.Net.Http.Headers;

namespace Cache.Service.Http;

/// <summary>An answer; it may be sent any number of times.</summary>
internal abstract class Answer
{
    /// <summary>The content type of JSON.</summary>
    public const string JsonType = "application/json; charset=utf-8";

    // What waits for the network at most: so much of a client that does not read, and no more, is in its connection's buffer.
    private const int MaxUnsent = 64 * 1024;

    /// <summary>The bytes that it holds.</summary>
    public abstract int Length { get; }

    /// <summary>An answer in JSON.</summary>
    public static Answer Json(Action<Utf8JsonWriter> write) => Of(JsonType, body =>
    {
        using var json = new Utf8JsonWriter(body);
        write(json);
    });

    /// <summary>An answer of some type.</summary>
    public static Answer Of(string contentType, Action<IBufferWriter<byte>> write)
    {
        var body = new ArrayBufferWriter<byte>(1024);
        write(body);
        return new HeldAnswer(body.WrittenMemory, contentType);
    }

    /// <summary>Sends it; of a HEAD request the server sends the headers alone.</summary>
    public abstract Task SendAsync(HttpContext context);

    /// <summary>To be asked for again each time, and never kept for anybody else.</summary>
    protected static void Headers(HttpResponse response) => response.Headers.CacheControl = "private, no-cache";

    /// <summary>Writes a large body as fast as the client takes it; false when it is gone.</summary>
    protected static async ValueTask<bool> WriteAsync(PipeWriter writer, ReadOnlyMemory<byte> body)
    {
        while (!body.IsEmpty)
        {
            var piece = body[..Math.Min(body.Length, MaxUnsent)];
            if ((await writer.WriteAsync(piece, CancellationToken.None)).IsCompleted)
            {
                return false;
            }

            body = body[piece.Length..];
        }

        return true;
    }

    /// <summary>Closes the connection of a client that takes less than a modem would: what a large answer holds is everybody's.</summary>
    protected static void HurryUp(HttpContext context)
    {
        // HTTP/2 has none, for a connection carries several answers.
        if (context.Features.Get<IHttpMinResponseDataRateFeature>() is { } rate)
        {
            rate.MinDataRate = new(bytesPerSecond: 4096, gracePeriod: TimeSpan.FromSeconds(10));
        }
    }
}

/// <summary>
/// An answer that is complete before its first byte leaves, so that it has a length and a tag: who has it already gets 304.
/// </summary>
internal sealed class HeldAnswer(ReadOnlyMemory<byte> body, string contentType) : Answer
{
    private readonly string _tag = Tag(body.Span);

    /// <inheritdoc/>
    public override int Length => body.Length;

    /// <summary>Sends it, or 304.</summary>
    public override Task SendAsync(HttpContext context)
    {
        var response = context.Response;
        response.Headers.ETag = _tag;

        Headers(response);
        if (HasIt(context.Request))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return Task.CompletedTask;
        }

        if (body.Length >= LargeReads.MinBytes)
        {
            return SendLargeAsync(context);
        }

        response.ContentType = contentType;
        response.ContentLength = body.Length;

        // Without a token: to make one for each request costs, and a client that goes ends the writing anyway.
        var written = response.BodyWriter.WriteAsync(body, CancellationToken.None);
        return written.IsCompletedSuccessfully ? Task.CompletedTask : written.AsTask();
    }

    private async Task SendLargeAsync(HttpContext context)
    {
        using var room = context.RequestServices.GetRequiredService<LargeReads>().Take(body.Length, context);
        context.Response.ContentType = contentType;
        context.Response.ContentLength = body.Length;
        HurryUp(context);
        if (!HttpMethods.IsHead(context.Request.Method))
        {
            await WriteAsync(context.Response.BodyWriter, body);
        }
    }

    /// <summary>A strong tag: of the bytes themselves, so the same on every replica.</summary>
    private static string Tag(ReadOnlySpan<byte> body)
    {
        var hash = XxHash128.HashToUInt128(body);
        return string.Create(24, hash, static (text, hash) =>
        {
            text[0] = text[^1] = '"';
            Base64Url.EncodeToChars(MemoryMarshal.AsBytes(new ReadOnlySpan<UInt128>(in hash)), text[1..^1]);
        });
    }

    /// <summary>Whether <c>If-None-Match</c> names the tag; a proxy that compressed the answer may have made it weak.</summary>
    private bool HasIt(HttpRequest request)
    {
        var named = request.Headers.IfNoneMatch;
        return named.Count > 0 && EntityTagHeaderValue.TryParseList(named, out var tags)
            && tags.Any(known => known.Tag == _tag || known.Equals(EntityTagHeaderValue.Any));
    }
}

/// <summary>
/// An answer that is sent while it is read, since it is too long to be held: without a length and a tag. What fails before the
/// first piece is an error like any other; what fails later closes the connection, so that nobody takes a part for the whole.
/// </summary>
/// <param name="contentType">Its type.</param>
/// <param name="read">Reads it for a request, piece by piece; a piece is gone when the next is asked for.</param>
internal sealed class StreamedAnswer(string contentType, Func<HttpContext, IAsyncEnumerable<ReadOnlyMemory<byte>>> read) : Answer
{
    /// <inheritdoc/>
    public override int Length => 0;

    /// <inheritdoc/>
    public override async Task SendAsync(HttpContext context)
    {
        await using var pieces = read(context).GetAsyncEnumerator(context.RequestAborted);
        await pieces.MoveNextAsync();
        context.Response.ContentType = contentType;
        Headers(context.Response);
        if (HttpMethods.IsHead(context.Request.Method))
        {
            return;
        }

        HurryUp(context);
        try
        {
            while (await WriteAsync(context.Response.BodyWriter, pieces.Current) && await pieces.MoveNextAsync())
            {
                // On to the next.
            }
        }
        catch (Exception exception) when (ApiAnswers.IsReported(exception))
        {
            if (!context.RequestAborted.IsCancellationRequested)
            {
                context.RequestServices.GetRequiredService<AnswerMetrics>().Cut();
            }

            context.Abort();
        }
    }
}

/// <summary>Text into an answer.</summary>
internal static class AnswerText
{
    /// <summary>Writes text as UTF-8.</summary>
    public static void Write(this IBufferWriter<byte> answer, string text) => Encoding.UTF8.GetBytes(text, answer);
}
