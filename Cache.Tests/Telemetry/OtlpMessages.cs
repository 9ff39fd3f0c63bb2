using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Cache.Tests.Telemetry;

/// <summary>A span as it came over the wire; ids are lower-case hexadecimal, "" when absent.</summary>
internal sealed record OtlpSpan(
    string Service,
    string Scope,
    string TraceId,
    string SpanId,
    string ParentId,
    string Name,
    string Kind,
    IReadOnlyDictionary<string, string> Attributes,
    IReadOnlyList<(string TraceId, string SpanId)> Links,
    IReadOnlyList<string> Events,
    long Status);

/// <summary>A metric as it came over the wire, without its data points.</summary>
internal sealed record OtlpMetric(string Service, string Scope, string Name, string Unit);

/// <summary>A log record as it came over the wire; ids are lower-case hexadecimal, "" when absent.</summary>
internal sealed record OtlpLog(string Service, string Category, string Severity, string Body, string TraceId, string SpanId);

/// <summary>
/// Reads the three OTLP requests by the field numbers of opentelemetry-proto: no package of generated classes exists, and a
/// reader of the wire format is shorter than what would have to be generated.
/// </summary>
internal static class OtlpMessages
{
    private static readonly string[] Kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];

    public static IEnumerable<OtlpSpan> Spans(ReadOnlyMemory<byte> request) =>
        from record in Records(request)
        let span = Fields(record.Bytes)
        select new OtlpSpan(
            record.Service,
            record.Scope,
            Hex(span, 1),
            Hex(span, 2),
            Hex(span, 4),
            Text(span, 5),
            Kinds[(int)Number(span, 6)],
            Attributes(span, 9),
            [.. All(span, 13).Select(link => (Hex(Fields(link), 1), Hex(Fields(link), 2)))],
            [.. All(span, 11).Select(occurrence => Text(Fields(occurrence), 2))],
            All(span, 15).Select(status => Number(Fields(status), 3)).FirstOrDefault());

    public static IEnumerable<OtlpMetric> Metrics(ReadOnlyMemory<byte> request) =>
        from record in Records(request)
        let metric = Fields(record.Bytes)
        select new OtlpMetric(record.Service, record.Scope, Text(metric, 1), Text(metric, 3));

    public static IEnumerable<OtlpLog> Logs(ReadOnlyMemory<byte> request) =>
        from record in Records(request)
        let log = Fields(record.Bytes)
        select new OtlpLog(
            record.Service,
            record.Scope,
            Text(log, 3),
            All(log, 5).Select(Value).FirstOrDefault(""),
            Hex(log, 9),
            Hex(log, 10));

    // All three requests have the same shape: resources (1) with attributes (1.1) and scopes (2), which have a name (1.1) and
    // records (2).
    private static IEnumerable<(string Service, string Scope, ReadOnlyMemory<byte> Bytes)> Records(ReadOnlyMemory<byte> request)
    {
        foreach (var group in All(Fields(request), 1).Select(Fields))
        {
            var service = All(group, 1).Select(resource => Attributes(Fields(resource), 1).GetValueOrDefault("service.name", ""))
                .FirstOrDefault("");
            foreach (var scope in All(group, 2).Select(Fields))
            {
                var name = All(scope, 1).Select(of => Text(Fields(of), 1)).FirstOrDefault("");
                foreach (var record in All(scope, 2))
                {
                    yield return (service, name, record);
                }
            }
        }
    }

    private static Dictionary<string, string> Attributes(IEnumerable<Field> fields, int number) =>
        All(fields, number).Select(Fields).ToDictionary(pair => Text(pair, 1), pair => All(pair, 2).Select(Value).FirstOrDefault(""));

    // AnyValue: a string (1), a bool (2), an int (3), a double (4); others are named by their number.
    private static string Value(ReadOnlyMemory<byte> any) =>
        Fields(any).FirstOrDefault() switch
        {
            { Number: 1 } text => Encoding.UTF8.GetString(text.Bytes.Span),
            { Number: 2 } flag => flag.Value == 0 ? "false" : "true",
            { Number: 3 } number => ((long)number.Value).ToString(CultureInfo.InvariantCulture),
            { Number: 4 } number => BitConverter.UInt64BitsToDouble(number.Value).ToString(CultureInfo.InvariantCulture),
            var other => $"field {other.Number}",
        };

    private static IEnumerable<ReadOnlyMemory<byte>> All(IEnumerable<Field> fields, int number) =>
        fields.Where(field => field.Number == number).Select(field => field.Bytes);

    private static string Text(IEnumerable<Field> fields, int number) =>
        All(fields, number).Select(bytes => Encoding.UTF8.GetString(bytes.Span)).FirstOrDefault("");

    private static string Hex(IEnumerable<Field> fields, int number) =>
        All(fields, number).Select(bytes => Convert.ToHexStringLower(bytes.Span)).FirstOrDefault("");

    private static long Number(IEnumerable<Field> fields, int number) =>
        fields.Where(field => field.Number == number).Select(field => (long)field.Value).FirstOrDefault();

    private static List<Field> Fields(ReadOnlyMemory<byte> message)
    {
        var fields = new List<Field>();
        for (var rest = message; rest.Length > 0;)
        {
            var tag = Varint(ref rest);
            var number = (int)(tag >> 3);
            switch (tag & 7)
            {
                case 0:
                    fields.Add(new(number, Varint(ref rest), default));
                    break;
                case 1:
                    fields.Add(new(number, BinaryPrimitives.ReadUInt64LittleEndian(Take(ref rest, 8).Span), default));
                    break;
                case 2:
                    fields.Add(new(number, 0, Take(ref rest, (int)Varint(ref rest))));
                    break;
                case 5:
                    fields.Add(new(number, BinaryPrimitives.ReadUInt32LittleEndian(Take(ref rest, 4).Span), default));
                    break;
                default:
                    throw new InvalidDataException($"Wire type {tag & 7} in field {number}");
            }
        }

        return fields;
    }

    private static ReadOnlyMemory<byte> Take(ref ReadOnlyMemory<byte> rest, int length)
    {
        var taken = rest[..length];
        rest = rest[length..];
        return taken;
    }

    private static ulong Varint(ref ReadOnlyMemory<byte> rest)
    {
        var value = 0UL;
        for (var shift = 0; ; shift += 7)
        {
            var next = Take(ref rest, 1).Span[0];
            value |= (ulong)(next & 0x7f) << shift;
            if (next < 0x80)
            {
                return value;
            }
        }
    }

    private readonly record struct Field(int Number, ulong Value, ReadOnlyMemory<byte> Bytes);
}
