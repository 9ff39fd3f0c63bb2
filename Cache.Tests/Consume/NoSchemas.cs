using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Options;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cache.Tests.Consume;

/// <summary>What stands where a schema registry would, if there is none.</summary>
internal static class NoSchemas
{
    public static SchemaRegistry Registry(CacheOptions options, TimeProvider time) =>
        new(new SchemaClient(options), new Schemas(time), options, null!, time, null!, NullLogger<SchemaRegistry>.Instance);
}
