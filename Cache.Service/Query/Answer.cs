using System.Buffers;
using System.Buffers.Text;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Microsoft.Net.Http.Headers;

namespace Cache.Service.Query;

/// <summary>
/// An answer that is complete before its first byte leaves, so that it has a length and a tag: who has it already gets 304.
/// It may be sent any number of times.
/// </summary>
internal sealed class Answer
{
    private readonly ReadOnlyMemory<byte> _body;
    private readonly string _contentType;
    private readonly string _tag;

    private Answer(ReadOnlyMemory<byte> body, string contentType) => (_body, _contentType, _tag) = (body, contentType, Tag(body.Span));

    /// <summary>The length of its body.</summary>
    public int Length => _body.Length;

    /// <summary>An answer in JSON.</summary>
    public static Answer Json(Action<Utf8JsonWriter> write) => Of("application/json; charset=utf-8", body =>
    {
        using var json = new Utf8JsonWriter(body);
        write(json);
    });

    /// <summary>An answer of some type.</summary>
    public static Answer Of(string contentType, Action<IBufferWriter<byte>> write)
    {
        var body = new ArrayBufferWriter<byte>(1024);
        write(body);
        return new(body.WrittenMemory, contentType);
    }

    /// <summary>Sends it, or 304; of a HEAD request the server sends the headers alone.</summary>
    public Task SendAsync(HttpContext context)
    {
        var response = context.Response;
        response.Headers.ETag = _tag;

        // To be asked for again each time, and never kept for anybody else.
        response.Headers.CacheControl = "private, no-cache";
        if (HasIt(context.Request))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return Task.CompletedTask;
        }

        response.ContentType = _contentType;
        response.ContentLength = _body.Length;

        // Without a token: to make one for each request costs, and a client that goes ends the writing anyway.
        var written = response.BodyWriter.WriteAsync(_body, CancellationToken.None);
        return written.IsCompletedSuccessfully ? Task.CompletedTask : written.AsTask();
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

/// <summary>Text into an answer.</summary>
internal static class AnswerText
{
    /// <summary>Writes text as UTF-8.</summary>
    public static void Write(this IBufferWriter<byte> answer, string text) => Encoding.UTF8.GetBytes(text, answer);
}
