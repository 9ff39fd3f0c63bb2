using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using StackExchange.Redis;

namespace Cache.Service.Http.Query;

/// <summary>Reads a field's value as a number. A value in Redis that is not a number was not written by Cache, and is left out.</summary>
internal static class FieldValue
{
    /// <summary>Writes the field as a JSON number.</summary>
    public static void Write(Utf8JsonWriter json, HashEntry field)
    {
        var text = ((ReadOnlyMemory<byte>)field.Value).Span;
        if (TryWhole(text, out var whole))
        {
            json.WriteNumber(((ReadOnlyMemory<byte>)field.Name).Span, whole);
        }
        else if (TryNumber(text, out var number))
        {
            json.WriteNumber(((ReadOnlyMemory<byte>)field.Name).Span, number);
        }
    }

    /// <summary>The number as it is in Redis; null if the value is not a number.</summary>
    public static string? Text(RedisValue value)
    {
        var text = ((ReadOnlyMemory<byte>)value).Span;
        return TryWhole(text, out _) || TryNumber(text, out _) ? Encoding.ASCII.GetString(text) : null;
    }

    private static bool TryWhole(ReadOnlySpan<byte> text, out long whole) =>
        Utf8Parser.TryParse(text, out whole, out var read) && read == text.Length;

    private static bool TryNumber(ReadOnlySpan<byte> text, out double number) =>
        Utf8Parser.TryParse(text, out number, out var read) && read == text.Length && double.IsFinite(number);
}
