using System.Buffers.Binary;
using Avro;

namespace Cache.Service.Decode;

/// <summary>
/// Reads Avro's binary encoding from untrusted bytes. Unlike the readers of Apache.Avro it allocates nothing, whatever lengths the bytes
/// claim, and neither recursion nor empty items can keep it busy: every method returns false where the bytes are not what they should be.
/// </summary>
internal ref struct AvroReader(ReadOnlySpan<byte> value)
{
    // As deep as Apache.Avro reads schemas; a recursive schema could otherwise nest as deep as the value is long.
    private const int MaxDepth = 64;

    // More than a value of the largest size has, unless most of them take no bytes.
    private const int MaxItems = 2 * RowDecoder.MaxValueBytes;

    private ReadOnlySpan<byte> _rest = value;
    private int _items;

    /// <summary>Whether everything has been read.</summary>
    public readonly bool IsAtEnd => _rest.IsEmpty;

    /// <summary>Reads an int or a long: zigzag, seven bits per byte.</summary>
    public bool TryLong(out long number)
    {
        var bits = 0UL;
        number = 0;
        for (var (at, shift) = (0, 0); at < _rest.Length; (at, shift) = (at + 1, shift + 7))
        {
            var part = _rest[at];

            // The tenth byte has room for one bit.
            if (shift == 63 && part > 1)
            {
                return false;
            }

            bits |= (ulong)(part & 0x7F) << shift;
            if (part < 0x80)
            {
                number = (long)(bits >> 1) ^ -(long)(bits & 1);
                _rest = _rest[(at + 1)..];
                return true;
            }
        }

        return false;
    }

    /// <summary>Reads a number of bytes.</summary>
    public bool TryBytes(long count, out ReadOnlySpan<byte> bytes)
    {
        if (count < 0 || count > _rest.Length)
        {
            bytes = default;
            return false;
        }

        bytes = _rest[..(int)count];
        _rest = _rest[(int)count..];
        return true;
    }

    /// <summary>Reads bytes or a string, which follow their length.</summary>
    public bool TryPrefixed(out ReadOnlySpan<byte> bytes)
    {
        bytes = default;
        return TryLong(out var length) && TryBytes(length, out bytes);
    }

    /// <summary>Reads a boolean.</summary>
    public bool TryBoolean(out bool flag)
    {
        flag = TryBytes(1, out var bytes) && bytes[0] == 1;
        return flag || bytes is [0];
    }

    /// <summary>Reads a float.</summary>
    public bool TryFloat(out float number)
    {
        var isThere = TryBytes(sizeof(float), out var bytes);
        number = isThere ? BinaryPrimitives.ReadSingleLittleEndian(bytes) : 0;
        return isThere;
    }

    /// <summary>Reads a double.</summary>
    public bool TryDouble(out double number)
    {
        var isThere = TryBytes(sizeof(double), out var bytes);
        number = isThere ? BinaryPrimitives.ReadDoubleLittleEndian(bytes) : 0;
        return isThere;
    }

    /// <summary>Reads the symbol of an enum.</summary>
    public bool TrySymbol(EnumSchema schema, out string symbol)
    {
        var isThere = TryLong(out var index) && index >= 0 && index < schema.Symbols.Count;
        symbol = isThere ? schema.Symbols[(int)index] : "";
        return isThere;
    }

    /// <summary>Reads which branch of a union follows.</summary>
    public bool TryBranch(UnionSchema union, out Schema branch)
    {
        var isThere = TryLong(out var index) && index >= 0 && index < union.Count;
        branch = isThere ? union[(int)index] : union;
        return isThere;
    }

    /// <summary>Skips a value.</summary>
    public bool TrySkip(Schema schema) => TrySkip(schema, 0);

    private bool TrySkip(Schema schema, int depth)
    {
        if (depth > MaxDepth || ++_items > MaxItems)
        {
            return false;
        }

        switch (schema.Tag)
        {
            case Schema.Type.Null:
                return true;
            case Schema.Type.Boolean:
                return TryBoolean(out _);
            case Schema.Type.Int or Schema.Type.Long:
                return TryLong(out _);
            case Schema.Type.Float:
                return TryBytes(sizeof(float), out _);
            case Schema.Type.Double:
                return TryBytes(sizeof(double), out _);
            case Schema.Type.Bytes or Schema.Type.String:
                return TryPrefixed(out _);
            case Schema.Type.Fixed:
                return TryBytes(((FixedSchema)schema).Size, out _);
            case Schema.Type.Enumeration:
                return TrySymbol((EnumSchema)schema, out _);
            case Schema.Type.Union:
                return TryBranch((UnionSchema)schema, out var branch) && TrySkip(branch, depth + 1);
            case Schema.Type.Logical:
                return TrySkip(((LogicalSchema)schema).BaseSchema, depth + 1);
            case Schema.Type.Array:
                return TrySkipBlocks(isMap: false, ((ArraySchema)schema).ItemSchema, depth + 1);
            case Schema.Type.Map:
                return TrySkipBlocks(isMap: true, ((MapSchema)schema).ValueSchema, depth + 1);
            case Schema.Type.Record or Schema.Type.Error:
                foreach (var field in ((RecordSchema)schema).Fields)
                {
                    if (!TrySkip(field.Schema, depth + 1))
                    {
                        return false;
                    }
                }

                return true;
            default:
                return false;
        }
    }

    /// <summary>Skips the items of an array or a map, which come in blocks, the last of which is empty.</summary>
    private bool TrySkipBlocks(bool isMap, Schema item, int depth)
    {
        while (TryLong(out var count))
        {
            if (count == 0)
            {
                return true;
            }

            // A negative count is followed by the length in bytes.
            if (count < 0 && TryLong(out var length))
            {
                if (!TryBytes(length, out _))
                {
                    return false;
                }

                continue;
            }

            for (; count > 0; count--)
            {
                if ((isMap && !TryPrefixed(out _)) || !TrySkip(item, depth))
                {
                    return false;
                }
            }
        }

        return false;
    }
}
