using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Cache.Client;

/// <summary>
/// The value of a measure. A count is a whole number, exact up to <see cref="long.MaxValue"/>; any other measure is a <see cref="double"/>.
/// </summary>
[JsonConverter(typeof(MetricValueConverter))]
public readonly record struct MetricValue : IFormattable
{
    private readonly long _whole;
    private readonly double _number;

    /// <summary>A whole number.</summary>
    public MetricValue(long value) => (_whole, _number, IsWhole) = (value, value, true);

    /// <summary>Any number.</summary>
    public MetricValue(double value) => _number = value;

    /// <summary>Whether the service sent a whole number that fits into a <see cref="long"/>.</summary>
    public bool IsWhole { get; }

    /// <summary>The value as a number; a whole number beyond 2^53 is rounded.</summary>
    public double ToDouble() => _number;

    /// <summary>The value as a whole number; a fraction is dropped.</summary>
    /// <exception cref="OverflowException">The value does not fit.</exception>
    public long ToInt64() => IsWhole ? _whole : checked((long)_number);

    /// <summary>See <see cref="ToDouble"/>.</summary>
    public static implicit operator double(MetricValue value) => value.ToDouble();

    /// <summary>See <see cref="ToInt64"/>.</summary>
    /// <exception cref="OverflowException">The value does not fit.</exception>
    public static explicit operator long(MetricValue value) => value.ToInt64();

    /// <summary>The value as JSON has it.</summary>
    public override string ToString() => ToString(null, CultureInfo.InvariantCulture);

    /// <inheritdoc/>
    public string ToString(string? format, IFormatProvider? formatProvider) =>
        IsWhole ? _whole.ToString(format, formatProvider) : _number.ToString(format, formatProvider);

    /// <summary>Reads a JSON number.</summary>
    internal static MetricValue Of(JsonElement number) => number.TryGetInt64(out var whole) ? new(whole) : new(number.GetDouble());
}

/// <summary>A measure's value in JSON: a number.</summary>
internal sealed class MetricValueConverter : JsonConverter<MetricValue>
{
    /// <inheritdoc/>
    public override MetricValue Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TryGetInt64(out var whole) ? new(whole) : new(reader.GetDouble());

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, MetricValue value, JsonSerializerOptions options)
    {
        if (value.IsWhole)
        {
            writer.WriteNumberValue(value.ToInt64());
        }
        else
        {
            writer.WriteNumberValue(value.ToDouble());
        }
    }
}
