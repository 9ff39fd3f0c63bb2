namespace Cache.Service.Decode;

/// <summary>What is known of a schema.</summary>
/// <param name="Format">How its values are written.</param>
/// <param name="Avro">The parsed schema; null unless it is Avro.</param>
internal sealed record RowSchema(SchemaFormat Format, Avro.Schema? Avro = null)
{
    /// <summary>A JSON schema, of which no more is needed.</summary>
    public static RowSchema Json { get; } = new(SchemaFormat.Json);

    /// <summary>A schema of another type, or one that cannot be read.</summary>
    public static RowSchema Unsupported { get; } = new(SchemaFormat.Unsupported);

    /// <summary>A schema that the registry does not know.</summary>
    public static RowSchema Unknown { get; } = new(SchemaFormat.Unknown);
}

/// <summary>How the values of a schema are written.</summary>
internal enum SchemaFormat
{
    /// <summary>In Avro's binary encoding.</summary>
    Avro,

    /// <summary>As JSON.</summary>
    Json,

    /// <summary>In a way that is not decoded.</summary>
    Unsupported,

    /// <summary>The registry does not know the schema.</summary>
    Unknown,
}
