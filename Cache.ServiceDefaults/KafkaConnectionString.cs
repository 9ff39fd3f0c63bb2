using System.Data.Common;
using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using Confluent.Kafka;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// The value of <c>ConnectionStrings:kafka</c>: only the brokers (<c>host:port[,host:port…]</c>), or client properties separated
/// by semicolons, including the brokers (<c>BootstrapServers=host:port;SecurityProtocol=SaslSsl;…</c>). It may contain a
/// password, so no error repeats any part of a value.
/// </summary>
public sealed partial class KafkaConnectionString
{
    /// <summary>The configuration key, with which every error starts.</summary>
    public const string Key = "ConnectionStrings:kafka";

    private const string BootstrapServers = "bootstrap.servers";
    private const string SaslMechanism = "sasl.mechanism";
    private const string Brokers = "host:port[,host:port…]";
    private const string Expected = $"it must be {Brokers}, or properties such as BootstrapServers={Brokers};SecurityProtocol=SaslSsl;SaslMechanism=Plain;SaslUsername=…;SaslPassword=…";
    private const string Quotes = "put a value that contains ; or quotes in double quotes, and double the quotes inside it";

    private static readonly string[] Booleans = ["true", "false", "t", "f", "1", "0"];

    private static readonly Dictionary<string, ClientProperty> ClientProperties = FindClientProperties();

    private readonly Dictionary<string, string> _properties = [];

    private KafkaConnectionString()
    {
    }

    /// <summary>The brokers, <c>host:port[,host:port…]</c>; empty after an error.</summary>
    public string Servers { get; private set; } = "";

    /// <summary>All other properties, by librdkafka's names (<c>sasl.username</c>), with values that the library accepts.</summary>
    public IReadOnlyDictionary<string, string> Properties => _properties;

    /// <summary>Reads a connection string of either form.</summary>
    /// <param name="text">
    /// Properties are named as in Confluent's ClientConfig or in librdkafka, with dots or underscores, in any case. If one is
    /// repeated, the last one wins; one without a value is ignored.
    /// </param>
    /// <param name="errors">Receives one sentence per error, with the key, the name of a known property, and what would be valid.</param>
    public static KafkaConnectionString Read(string text, ICollection<string> errors)
    {
        var read = new KafkaConnectionString();
        if (text.AsSpan().ContainsAny(';', '='))
        {
            read.ReadProperties(text, errors);
        }
        else
        {
            read.ReadServers(text, errors);
        }

        return read;
    }

    /// <summary>Reads a comma-separated list of brokers.</summary>
    /// <param name="text"><c>host[:port]</c>, each optionally prefixed with its listener's protocol (<c>SASL_SSL://</c>).</param>
    /// <param name="servers">The same list without blanks and empty entries.</param>
    /// <returns>Whether the list is not empty and every entry can be a broker address.</returns>
    public static bool TryReadServers(string text, out string servers)
    {
        var list = text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        servers = string.Join(',', list);
        return list.Length > 0 && list.All(IsServer);
    }

    /// <summary>
    /// Checks the form of a property's value, because the client library reads 1.5 as 1 and 10s as 10.
    /// </summary>
    /// <param name="name">The property's name in librdkafka.</param>
    /// <param name="value">The configured value.</param>
    /// <returns>What the value must be; null if it is valid, or if only the library can tell.</returns>
    public static string? WrongForm(string name, string value)
    {
        var type = Find(name)?.Type;
        return type == typeof(int) && !int.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _) ? "it must be a whole number"
            : type == typeof(bool) && !Booleans.Contains(value, StringComparer.OrdinalIgnoreCase) ? "it must be true or false"
            : null;
    }

    private static bool IsServer(string server) =>
        Server().Match(server) is { Success: true } match
        && (match.Groups["port"] is not { Success: true } port
            || (ushort.TryParse(port.ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0));

    [GeneratedRegex(@"^([A-Za-z_]+://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?<port>[0-9]+))?\z", RegexOptions.ExplicitCapture)]
    private static partial Regex Server();

    private void ReadServers(string text, ICollection<string> errors)
    {
        if (string.IsNullOrWhiteSpace(text))
        {
            errors.Add($"{Key} is empty; {Expected}.");
        }
        else if (TryReadServers(text, out var servers))
        {
            Servers = servers;
        }
        else
        {
            errors.Add($"{Key} has a broker address that cannot be used; {Expected}.");
        }
    }

    private void ReadProperties(string text, ICollection<string> errors)
    {
        var parsed = new DbConnectionStringBuilder();
        try
        {
            parsed.ConnectionString = text;
        }
        catch (ArgumentException)
        {
            errors.Add($"{Key} cannot be read; {Expected}; {Quotes}.");
            return;
        }

        foreach (string given in parsed.Keys)
        {
            var value = (string)parsed[given];
            var property = Find(given);
            if (value.Length > 0 && !_properties.TryAdd(property?.Name ?? given.Replace('_', '.').ToLowerInvariant(), property?.Value(value) ?? value))
            {
                errors.Add($"{Key} has {property?.Name ?? "a property"} twice, under two names; keep one.");
            }
        }

        if (_properties.Remove(BootstrapServers, out var servers))
        {
            ReadServers(servers, errors);
        }
        else if (parsed.ContainsKey("Endpoint") || parsed.ContainsKey("SharedAccessKey"))
        {
            _properties.Clear();
            errors.Add($"{Key} is an Event Hubs connection string; it must be NAME.servicebus.windows.net:9093, with Kafka:security.protocol=SASL_SSL, "
                + "Kafka:sasl.mechanism=PLAIN, Kafka:sasl.username=$ConnectionString (literally) and that connection string as Kafka:sasl.password.");
            return;
        }
        else
        {
            errors.Add($"{Key} has no BootstrapServers; {Expected}.");
        }

        RemoveRefused(errors);
    }

    /// <summary>
    /// Lets the client library check properties and ranges, which it knows best, but writes its own errors: those of the
    /// library may repeat a value.
    /// </summary>
    private void RemoveRefused(ICollection<string> errors)
    {
        foreach (var (name, value) in _properties.ToList())
        {
            if (WrongForm(name, value) is { } right)
            {
                _properties.Remove(name);
                errors.Add($"{Key}: the value of {name} cannot be used; {right}.");
            }
        }

        if (Refusal(_properties) is null)
        {
            return;
        }

        var unknown = false;
        foreach (var (name, value) in _properties.ToList())
        {
            // For a known property, only an invalid value matters here: it may depend on others that the section Kafka: adds.
            // The library checks a mechanism only together with its protocol.
            var refusal = Refusal([new(name, value)]);
            if (Find(name) is not { } property)
            {
                unknown |= refusal is not null && _properties.Remove(name);
            }
            else if (refusal is ArgumentException || (name == SaslMechanism && !property.IsChoice(value)))
            {
                _properties.Remove(name);
                errors.Add($"{Key}: the value of {name} cannot be used; "
                    + (property.Choices.Length > 0 ? $"it must be one of {string.Join(", ", property.Choices)}." : "see librdkafka's list of properties."));
            }
        }

        if (unknown)
        {
            // The name is not repeated: it may be the rest of a password that contains a semicolon.
            errors.Add($"{Key} has a property that the client library does not know, besides {string.Join(", ", _properties.Keys.Prepend(BootstrapServers))}; check the spelling; {Quotes}.");
        }
    }

    private static Exception? Refusal(IEnumerable<KeyValuePair<string, string>> properties)
    {
        try
        {
            using var client = new ProducerBuilder<Null, Null>(properties.Append(new("dotnet.producer.enable.background.poll", "false")))
                .SetLogHandler((_, _) => { }).Build();
            return null;
        }
        catch (Exception exception) when (exception is InvalidOperationException or ArgumentException or FormatException or KafkaException)
        {
            return exception;
        }
    }

    private static ClientProperty? Find(string name) => ClientProperties.GetValueOrDefault(WithoutSeparators(name));

    private static string WithoutSeparators(string name) => string.Concat(name.Split('.', '_', '-'));

    private static Dictionary<string, ClientProperty> FindClientProperties()
    {
        var found = new Dictionary<string, ClientProperty>(StringComparer.OrdinalIgnoreCase);
        foreach (var config in new[] { typeof(ConsumerConfig), typeof(ProducerConfig) })
        {
            foreach (var property in config.GetProperties().Where(property => property.CanWrite))
            {
                // Properties named dotnet.… belong to the .NET client, not to librdkafka.
                if (ClientProperty.Of(property) is { } known && !known.Name.StartsWith("dotnet.", StringComparison.Ordinal))
                {
                    found[property.Name] = known;
                }
            }
        }

        // librdkafka's aliases.
        found["MetadataBrokerList"] = found["BootstrapServers"];
        found["SaslMechanisms"] = found["SaslMechanism"];
        return found;
    }

    /// <summary>A property of Confluent's configuration classes, with its name in librdkafka and, for an enum, its possible values.</summary>
    private sealed record ClientProperty(string Name, string[] Choices, PropertyInfo Setter, Type? Type)
    {
        public static ClientProperty? Of(PropertyInfo setter)
        {
            var type = Nullable.GetUnderlyingType(setter.PropertyType);
            if (type is null && setter.PropertyType != typeof(string))
            {
                return null;
            }

            var name = Set(setter, type is null ? "" : Activator.CreateInstance(type)!).Key;
            return new(name, type is { IsEnum: true } ? Enum.GetNames(type) : [], setter, type);
        }

        /// <summary>Normalizes a value to librdkafka's spelling: SaslPlaintext to SASL_PLAINTEXT, ScramSha512 to SCRAM-SHA-512.</summary>
        public string Value(string given) =>
            IsChoice(given) ? Set(Setter, Enum.Parse(Type!, WithoutSeparators(given), ignoreCase: true)).Value : given;

        public bool IsChoice(string value) => Choices.Contains(WithoutSeparators(value), StringComparer.OrdinalIgnoreCase);

        private static KeyValuePair<string, string> Set(PropertyInfo setter, object value)
        {
            var config = (ClientConfig)Activator.CreateInstance(setter.ReflectedType!)!;
            setter.SetValue(config, value);
            return config.Single();
        }
    }
}
