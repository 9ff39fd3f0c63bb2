using System.Data.Common;
using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using Confluent.Kafka;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// What stands in <c>ConnectionStrings:kafka</c>: brokers alone (<c>host:port[,host:port…]</c>), or properties of the client with
/// semicolons, the brokers among them (<c>BootstrapServers=host:port;SecurityProtocol=SaslSsl;…</c>). There may be a password in
/// it, so that no error repeats any part of a value.
/// </summary>
public sealed partial class KafkaConnectionString
{
    /// <summary>The key of the configuration, which every error begins with.</summary>
    public const string Key = "ConnectionStrings:kafka";

    private const string BootstrapServers = "bootstrap.servers";
    private const string SaslMechanism = "sasl.mechanism";
    private const string Brokers = "host:port[,host:port…]";
    private const string Right = $"it must be {Brokers}, or properties such as BootstrapServers={Brokers};SecurityProtocol=SaslSsl;SaslMechanism=Plain;SaslUsername=…;SaslPassword=…";
    private const string Quotes = "a value with ; or quotes stands in double quotes, its own ones doubled";

    private static readonly string[] Booleans = ["true", "false", "t", "f", "1", "0"];

    private static readonly Dictionary<string, ClientProperty> ClientProperties = FindClientProperties();

    private readonly Dictionary<string, string> _properties = [];

    private KafkaConnectionString()
    {
    }

    /// <summary>The brokers, <c>host:port[,host:port…]</c>; empty after an error.</summary>
    public string Servers { get; private set; } = "";

    /// <summary>Every other property, under librdkafka's name (<c>sasl.username</c>) and with a value that the library takes.</summary>
    public IReadOnlyDictionary<string, string> Properties => _properties;

    /// <summary>Reads a connection string of either form.</summary>
    /// <param name="text">
    /// Properties have the names of Confluent's ClientConfig or of librdkafka, with dots or underscores, in any case. Of one that
    /// is repeated the last counts; one without a value is left out.
    /// </param>
    /// <param name="errors">Gets a sentence an error, with the key, the property's name where it is one, and what would be right.</param>
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

    /// <summary>Reads a list of brokers, with commas.</summary>
    /// <param name="text"><c>host[:port]</c>, each with its listener's protocol (<c>SASL_SSL://</c>) in front or not.</param>
    /// <param name="servers">The same without blanks and empty entries.</param>
    /// <returns>Whether there is one, and all can be the address of a broker.</returns>
    public static bool TryReadServers(string text, out string servers)
    {
        var list = text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        servers = string.Join(',', list);
        return list.Length > 0 && list.All(IsServer);
    }

    /// <summary>
    /// What a property's value has to be, when it is something else: the client library takes 1.5 for 1 and 10s for 10.
    /// </summary>
    /// <param name="name">Its name in librdkafka.</param>
    /// <param name="value">What is given for it.</param>
    /// <returns>What it must be; null when nothing is wrong with it, or the library alone can tell.</returns>
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
            errors.Add($"{Key} is empty; {Right}.");
        }
        else if (TryReadServers(text, out var servers))
        {
            Servers = servers;
        }
        else
        {
            errors.Add($"{Key} has a broker's address that cannot be used; {Right}.");
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
            errors.Add($"{Key} cannot be read; {Right}; {Quotes}.");
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
            errors.Add($"{Key} is a connection string of Event Hubs; it must be NAME.servicebus.windows.net:9093, with Kafka:security.protocol=SASL_SSL, "
                + "Kafka:sasl.mechanism=PLAIN, Kafka:sasl.username=$ConnectionString (this very text) and that connection string as Kafka:sasl.password.");
            return;
        }
        else
        {
            errors.Add($"{Key} has no BootstrapServers; {Right}.");
        }

        RemoveRefused(errors);
    }

    /// <summary>The client library knows its properties and their ranges best, but its words may repeat a value.</summary>
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
            // Of a known one only the value counts here: it may want others, which the section Kafka: adds. The library looks at
            // a mechanism only together with its protocol.
            var refusal = Refusal([new(name, value)]);
            if (Find(name) is not { } property)
            {
                unknown |= refusal is not null && _properties.Remove(name);
            }
            else if (refusal is ArgumentException || (name == SaslMechanism && !property.IsChoice(value)))
            {
                _properties.Remove(name);
                errors.Add($"{Key}: the value of {name} cannot be used; "
                    + (property.Choices.Length > 0 ? $"it must be one of {string.Join(", ", property.Choices)}." : "see the list of properties of librdkafka."));
            }
        }

        if (unknown)
        {
            // Not by its name, which may be the rest of a password with a semicolon.
            errors.Add($"{Key} has a property that the client library does not take, beside {string.Join(", ", _properties.Keys.Prepend(BootstrapServers))}; mind the spelling; {Quotes}.");
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

    private static ClientProperty? Find(string name) => ClientProperties.GetValueOrDefault(WithoutMarks(name));

    private static string WithoutMarks(string name) => string.Concat(name.Split('.', '_', '-'));

    private static Dictionary<string, ClientProperty> FindClientProperties()
    {
        var found = new Dictionary<string, ClientProperty>(StringComparer.OrdinalIgnoreCase);
        foreach (var config in new[] { typeof(ConsumerConfig), typeof(ProducerConfig) })
        {
            foreach (var property in config.GetProperties().Where(property => property.CanWrite))
            {
                // Those of .NET's client alone (dotnet.…) are not the library's.
                if (ClientProperty.Of(property) is { } known && !known.Name.StartsWith("dotnet.", StringComparison.Ordinal))
                {
                    found[property.Name] = known;
                }
            }
        }

        // The library's other names of the same properties.
        found["MetadataBrokerList"] = found["BootstrapServers"];
        found["SaslMechanisms"] = found["SaslMechanism"];
        return found;
    }

    /// <summary>A property of Confluent's configuration classes: its name in librdkafka, and the names of its values where it is an enum.</summary>
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

        /// <summary>A value as librdkafka writes it: SaslPlaintext and SASL_PLAINTEXT, ScramSha512 and SCRAM-SHA-512 are the same.</summary>
        public string Value(string given) =>
            IsChoice(given) ? Set(Setter, Enum.Parse(Type!, WithoutMarks(given), ignoreCase: true)).Value : given;

        public bool IsChoice(string value) => Choices.Contains(WithoutMarks(value), StringComparer.OrdinalIgnoreCase);

        private static KeyValuePair<string, string> Set(PropertyInfo setter, object value)
        {
            var config = (ClientConfig)Activator.CreateInstance(setter.ReflectedType!)!;
            setter.SetValue(config, value);
            return config.Single();
        }
    }
}
