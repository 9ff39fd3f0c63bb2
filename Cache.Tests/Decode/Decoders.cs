using Cache.Metrics;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Options;

namespace Cache.Tests.Decode;

/// <summary>Short ways to decode.</summary>
internal static class Decoders
{
    /// <summary>Accepts times up to a day ahead of the clock.</summary>
    /// <param name="time">The clock.</param>
    /// <param name="types">The types besides the defaults.</param>
    public static RowDecoder New(TimeProvider time, params IReadOnlyList<MetricType> types) => new(Options(types), time);

    /// <summary>The configuration with all topics: of the default types, of the given types, and of sessions.</summary>
    public static CacheOptions Options(params IReadOnlyList<MetricType> types) => new()
    {
        MetricTypes = [.. MetricType.Defaults, .. types],
        Topics = [.. MetricType.Defaults.Concat(types).SelectMany(type => type.Topics), CacheOptions.SessionTopic],
        WindowMaxFutureSeconds = 86400,
    };

    /// <summary>Decodes a value of a type's topic.</summary>
    /// <param name="decoder">The decoder.</param>
    /// <param name="type">The type; null for sessions.</param>
    /// <param name="value">The value.</param>
    public static Row Decode(this RowDecoder decoder, MetricType? type, ReadOnlySpan<byte> value) => decoder.Decode(type?.Topics[0] ?? CacheOptions.SessionTopic, value);
}
