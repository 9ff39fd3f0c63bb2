using System.Buffers;
using System.Buffers.Text;
using System.IO.Hashing;
using System.IO.Pipelines;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.Net.Http.Headers;

namespace Cache.Service.Http;

/// <summary>An answer, which can be sent any number of times.</summary>
internal abstract class Answer
{
    /// <summary>The content type of JSON.</summary>
    public const string JsonType = "application/json; charset=utf-8";

    // Limits how much is buffered for a client that does not read.
    private const int MaxUnsent = 64 * 1024;

    /// <summary>The bytes it holds in memory.</summary>
    public abstract int Length { get; }

    /// <summary>Creates a JSON answer.</summary>
    public static Answer Json(Action<Utf8JsonWriter> write) => Of(JsonType, body =>
    {
        using var json = new Utf8JsonWriter(body);
        write(json);
    });

    /// <summary>Creates an answer of any content type.</summary>
    public static Answer Of(string contentType, Action<IBufferWriter<byte>> write)
    {
        var body = new ArrayBufferWriter<byte>(1024);
        write(body);
        return new HeldAnswer(body.WrittenMemory, contentType);
    }

    /// <summary>Sends the answer; for a HEAD request, only its headers.</summary>
    public abstract Task SendAsync(HttpContext context);

    /// <summary>Makes caches revalidate on every request, and shared caches store nothing.</summary>
    protected static void Headers(HttpResponse response) => response.Headers.CacheControl = "private, no-cache";

    /// <summary>Writes a large body as fast as the client reads it; returns false if the client is gone.</summary>
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

    /// <summary>Sets the minimum rate below which a client is disconnected: large answers use memory that all clients share.</summary>
    protected static void SetMinDataRate(HttpContext context)
    {
        // HTTP/2 lacks this feature, because one connection carries several answers.
        if (context.Features.Get<IHttpMinResponseDataRateFeature>() is { } rate)
        {
            rate.MinDataRate = new(bytesPerSecond: 4096, gracePeriod: TimeSpan.FromSeconds(10));
        }
    }
}

/// <summary>
/// An answer that is complete before its first byte is sent. It has a length and an ETag; a client that already has it gets 304.
/// </summary>
internal sealed class HeldAnswer(ReadOnlyMemory<byte> body, string contentType) : Answer
{
    private readonly string _tag = Tag(body.Span);

    /// <inheritdoc/>
    public override int Length => body.Length;

    /// <summary>Sends the answer, or 304.</summary>
    public override Task SendAsync(HttpContext context)
    {
        var response = context.Response;
        response.Headers.ETag = _tag;

        Headers(response);
        if (IsCurrent(context.Request))
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

        // No token: creating one per request has a cost, and a disconnect ends the write anyway.
        var written = response.BodyWriter.WriteAsync(body, CancellationToken.None);
        return written.IsCompletedSuccessfully ? Task.CompletedTask : written.AsTask();
    }

    private async Task SendLargeAsync(HttpContext context)
    {
        using var room = context.RequestServices.GetRequiredService<LargeReads>().Take(body.Length, context);
        context.Response.ContentType = contentType;
        context.Response.ContentLength = body.Length;
        SetMinDataRate(context);
        if (!HttpMethods.IsHead(context.Request.Method))
        {
            await WriteAsync(context.Response.BodyWriter, body);
        }
    }

    /// <summary>A strong ETag: a hash of the bytes, and therefore the same on every replica.</summary>
    private static string Tag(ReadOnlySpan<byte> body)
    {
        var hash = XxHash128.HashToUInt128(body);
        return string.Create(24, hash, static (text, hash) =>
        {
            text[0] = text[^1] = '"';
            Base64Url.EncodeToChars(MemoryMarshal.AsBytes(new ReadOnlySpan<UInt128>(in hash)), text[1..^1]);
        });
    }

    /// <summary>Whether <c>If-None-Match</c> matches the ETag, which a proxy may have weakened by compressing the answer.</summary>
    private bool IsCurrent(HttpRequest request)
    {
        var header = request.Headers.IfNoneMatch;
        return header.Count > 0 && EntityTagHeaderValue.TryParseList(header, out var tags)
            && tags.Any(known => known.Tag == _tag || known.Equals(EntityTagHeaderValue.Any));
    }
}

/// <summary>
/// An answer that is sent while it is read, because it is too long to hold; it has neither a length nor an ETag. A failure before
/// the first piece is an error like any other; a later one closes the connection, so that a part is never mistaken for the whole.
/// </summary>
/// <param name="contentType">Its content type.</param>
/// <param name="read">Reads it for a request, piece by piece; a piece is valid until the next one is requested.</param>
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

        SetMinDataRate(context);
        try
        {
            while (await WriteAsync(context.Response.BodyWriter, pieces.Current) && await pieces.MoveNextAsync())
            {
                // The condition does the work.
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

/// <summary>Writes text into an answer.</summary>
internal static class AnswerText
{
    /// <summary>Writes text as UTF-8.</summary>
    public static void Write(this IBufferWriter<byte> answer, string text) => Encoding.UTF8.GetBytes(text, answer);
}
