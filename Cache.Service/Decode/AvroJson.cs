using System.Buffers;
using System.Globalization;
using System.Numerics;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using Avro;

namespace Cache.Service.Decode;

/// <summary>
/// Writes an Avro record as the JSON that a producer of JSON would send, so that one rule decides what is rejected. What can be no field
/// of a row (bytes, and anything nested) becomes an empty array, whatever is in it. Not thread-safe.
/// </summary>
#pragma warning disable CA1001 // The writer only fills a buffer: there is nothing to dispose of.
internal sealed class AvroJson
#pragma warning restore CA1001
{
    // 150 digits: no measure has as many.
    private const int MaxDecimalBytes = 64;

    // A buffer that a huge row has enlarged is given up.
    private const int MaxKept = 64 * 1024;

    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    private readonly Utf8JsonWriter _json = new(Stream.Null, Options);
    private ArrayBufferWriter<byte> _buffer = new();

    /// <summary>Writes a value.</summary>
    /// <param name="schema">The schema that the value was written with.</param>
    /// <param name="value">The value, without the frame.</param>
    /// <param name="json">The JSON, valid until the next call.</param>
    /// <returns>False if the bytes are not a value of the schema.</returns>
    public bool TryWrite(Schema schema, ReadOnlySpan<byte> value, out ReadOnlySpan<byte> json)
    {
        _buffer.ResetWrittenCount();
        _buffer = _buffer.Capacity > MaxKept ? new() : _buffer;
        _json.Reset(_buffer);
        var reader = new AvroReader(value);
        var isValid = TryWriteRow(schema, ref reader) && reader.IsAtEnd;
        _json.Flush();
        json = _buffer.WrittenSpan;
        return isValid;
    }

    private bool TryWriteRow(Schema schema, ref AvroReader reader)
    {
        // A union of null and the record, or a logical type that only documents it.
        while (schema is UnionSchema or LogicalSchema { BaseSchema: RecordSchema or UnionSchema })
        {
            if (schema is LogicalSchema logical)
            {
                schema = logical.BaseSchema;
            }
            else if (!reader.TryBranch((UnionSchema)schema, out schema))
            {
                return false;
            }
        }

        if (schema is not RecordSchema record)
        {
            return TryWriteValue(schema, ref reader);
        }

        _json.WriteStartObject();
        foreach (var field in record.Fields)
        {
            _json.WritePropertyName(field.Name);
            if (!TryWriteValue(field.Schema, ref reader))
            {
                return false;
            }
        }

        _json.WriteEndObject();
        return true;
    }

    private bool TryWriteValue(Schema schema, ref AvroReader reader)
    {
        switch (schema.Tag)
        {
            case Schema.Type.Union:
                return reader.TryBranch((UnionSchema)schema, out var branch) && TryWriteValue(branch, ref reader);

            case Schema.Type.Logical:
                return TryWriteLogical((LogicalSchema)schema, ref reader);

            case Schema.Type.Null:
                _json.WriteNullValue();
                return true;

            case Schema.Type.Boolean when reader.TryBoolean(out var flag):
                _json.WriteBooleanValue(flag);
                return true;

            case Schema.Type.Int when reader.TryLong(out var number) && number is >= int.MinValue and <= int.MaxValue:
                _json.WriteNumberValue(number);
                return true;

            case Schema.Type.Long when reader.TryLong(out var number):
                _json.WriteNumberValue(number);
                return true;

            // The shortest text, as a producer of JSON would write it: 0.1, not 0.10000000149011612.
            case Schema.Type.Float when reader.TryFloat(out var number):
                return float.IsFinite(number) ? WriteNumber(number) : WriteText(number);

            case Schema.Type.Double when reader.TryDouble(out var number):
                return double.IsFinite(number) ? WriteNumber(number) : WriteText(number);

            case Schema.Type.String when reader.TryPrefixed(out var text) && Utf8.IsValid(text):
                _json.WriteStringValue(text);
                return true;

            case Schema.Type.Enumeration when reader.TrySymbol((EnumSchema)schema, out var symbol):
                _json.WriteStringValue(symbol);
                return true;

            case Schema.Type.Bytes or Schema.Type.Fixed or Schema.Type.Array or Schema.Type.Map or Schema.Type.Record or Schema.Type.Error
                when reader.TrySkip(schema):
                return WriteNested();

            default:
                return false;
        }
    }

    private bool TryWriteLogical(LogicalSchema schema, ref AvroReader reader) => (schema.LogicalTypeName, schema.BaseSchema.Tag) switch
    {
        ("timestamp-millis" or "local-timestamp-millis", Schema.Type.Long) => reader.TryLong(out var time) && WriteTime(time, (Int128)time * TimeSpan.TicksPerMillisecond),
        ("timestamp-micros" or "local-timestamp-micros", Schema.Type.Long) => reader.TryLong(out var time) && WriteTime(time, (Int128)time * TimeSpan.TicksPerMicrosecond),
        ("timestamp-nanos" or "local-timestamp-nanos", Schema.Type.Long) => reader.TryLong(out var time) && WriteTime(time, time / TimeSpan.NanosecondsPerTick),
        ("date", Schema.Type.Int) => reader.TryLong(out var days) && WriteDate(days),
        ("decimal", Schema.Type.Bytes) => reader.TryPrefixed(out var digits) && WriteDecimal(digits, schema),
        ("decimal", Schema.Type.Fixed) => reader.TryBytes(((FixedSchema)schema.BaseSchema).Size, out var digits) && WriteDecimal(digits, schema),
        _ => TryWriteValue(schema.BaseSchema, ref reader),
    };

    private bool WriteNumber(float number)
    {
        _json.WriteNumberValue(number);
        return true;
    }

    private bool WriteNumber(double number)
    {
        _json.WriteNumberValue(number);
        return true;
    }

    /// <summary>Writes what is no JSON number, nor a time, as text.</summary>
    private bool WriteText(IFormattable value)
    {
        _json.WriteStringValue(value.ToString(null, CultureInfo.InvariantCulture));
        return true;
    }

    private bool WriteNested()
    {
        _json.WriteStartArray();
        _json.WriteEndArray();
        return true;
    }

    /// <summary>Writes a time as ISO-8601 in UTC; one out of range as text that is no time.</summary>
    private bool WriteTime(long time, Int128 ticks)
    {
        ticks += DateTime.UnixEpoch.Ticks;
        if (ticks < 0 || ticks > DateTime.MaxValue.Ticks)
        {
            return WriteText(time);
        }

        _json.WriteStringValue(new DateTime((long)ticks, DateTimeKind.Utc));
        return true;
    }

    private bool WriteDate(long days)
    {
        var date = days + DateOnly.FromDateTime(DateTime.UnixEpoch).DayNumber;
        if (date < 0 || date > DateOnly.MaxValue.DayNumber)
        {
            return WriteText(days);
        }

        _json.WriteStringValue(DateOnly.FromDayNumber((int)date).ToString("O", CultureInfo.InvariantCulture));
        return true;
    }

    /// <summary>Writes a decimal with all its digits.</summary>
    private bool WriteDecimal(ReadOnlySpan<byte> digits, LogicalSchema schema)
    {
        if (digits.Length is 0 or > MaxDecimalBytes)
        {
            return WriteNested();
        }

        var unscaled = new BigInteger(digits, isUnsigned: false, isBigEndian: true);
        _json.WriteRawValue(string.Create(CultureInfo.InvariantCulture, $"{unscaled}e-{schema.GetProperty("scale") ?? "0"}"), skipInputValidation: true);
        return true;
    }
}
