using System.Buffers;
using System.Buffers.Text;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Net.Http.Headers;

namespace Cache.Service.Query;

/// <summary>
/// An answer that is complete before its first byte leaves, so that it has a length and a tag: who has it already gets 304.
/// Written to as a buffer; gives its memory back when it is disposed.
/// </summary>
internal sealed class Answer : IBufferWriter<byte>, IDisposable
{
    private byte[] _bytes = ArrayPool<byte>.Shared.Rent(4096);
    private int _length;

    /// <inheritdoc/>
    public void Advance(int count) => _length += count;

    /// <inheritdoc/>
    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _bytes.AsMemory(_length);
    }

    /// <inheritdoc/>
    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _bytes.AsSpan(_length);
    }

    /// <summary>Sends it, or 304; of a HEAD request the server sends the headers alone.</summary>
    public async Task SendAsync(HttpContext context, string contentType)
    {
        var response = context.Response;
        var tag = Tag();
        response.Headers.ETag = tag;

        // To be asked for again each time, and never kept for anybody else.
        response.Headers.CacheControl = "private, no-cache";
        if (HasIt(context.Request, tag))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }

        response.ContentType = contentType;
        response.ContentLength = _length;
        await response.Body.WriteAsync(_bytes.AsMemory(0, _length), context.RequestAborted);
    }

    /// <inheritdoc/>
    public void Dispose() => ArrayPool<byte>.Shared.Return(_bytes);

    /// <summary>A strong tag: of the bytes themselves, so the same on every replica.</summary>
    private string Tag()
    {
        var hash = XxHash128.HashToUInt128(_bytes.AsSpan(0, _length));
        return string.Create(24, hash, static (text, hash) =>
        {
            text[0] = text[^1] = '"';
            Base64Url.EncodeToChars(MemoryMarshal.AsBytes(new ReadOnlySpan<UInt128>(in hash)), text[1..^1]);
        });
    }

    /// <summary>Whether <c>If-None-Match</c> names the tag; a proxy that compressed the answer may have made it weak.</summary>
    private static bool HasIt(HttpRequest request, string tag)
    {
        var named = request.Headers.IfNoneMatch;
        return named.Count > 0 && EntityTagHeaderValue.TryParseList(named, out var tags)
            && tags.Any(known => known.Tag == tag || known.Equals(EntityTagHeaderValue.Any));
    }

    private void Reserve(int sizeHint)
    {
        var needed = _length + Math.Max(sizeHint, 256);
        if (needed > _bytes.Length)
        {
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(needed, _bytes.Length * 2));
            _bytes.AsSpan(0, _length).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_bytes);
            _bytes = larger;
        }
    }
}

/// <summary>Text into an answer.</summary>
internal static class AnswerText
{
    /// <summary>Writes text as UTF-8.</summary>
    public static void Write(this IBufferWriter<byte> answer, string text) => Encoding.UTF8.GetBytes(text, answer);
}
