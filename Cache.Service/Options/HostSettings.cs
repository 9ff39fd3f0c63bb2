using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Cache.Service.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using static Microsoft.Extensions.Hosting.FlatKeys;

namespace Cache.Service.Options;

/// <summary>
/// Checks the keys that ASP.NET reads: where it listens, for whom it answers, what it logs. ASP.NET finds most errors only when it
/// starts, tells one at a time with its stack, and overlooks some.
/// </summary>
internal static partial class HostSettings
{
    private const string RightAddress = "an address is http://host:port or https://host:port with a port from 0 to 65535, such as http://*:8080 or http://127.0.0.1:8080";

    private static readonly string[] Protocols = ["grpc", "http/protobuf"];
    private static readonly string[] Formatters = ["simple", "json", "systemd"];

    /// <summary>Adds a sentence an error.</summary>
    public static void Check(IConfiguration configuration, ICollection<string> errors)
    {
        CheckLogging(configuration.GetSection("Logging"), errors);
        CheckAddresses(configuration, errors);
        CheckHosts(configuration.GetSection("AllowedHosts"), errors);
        CheckTelemetry(configuration, errors);
        if (configuration["ForwardedHeaders_Enabled"] is { } forwarded && !bool.TryParse(forwarded, out _))
        {
            errors.Add(Wrong("ForwardedHeaders_Enabled", forwarded, "ASPNETCORE_FORWARDEDHEADERS_ENABLED must be true or false."));
        }
    }

    /// <summary>
    /// Whether each address that the service listens on is of this machine's loopback: then only programs of this machine reach
    /// it, and browsers with any page.
    /// </summary>
    /// <param name="configuration">One that <see cref="Check"/> had nothing against.</param>
    /// <param name="hosts">The hosts of these addresses.</param>
    public static bool IsLoopbackOnly(IConfiguration configuration, out IReadOnlyList<string> hosts)
    {
        hosts = [.. Addresses(configuration).Select(address => BindingAddress.Parse(address.Url).Host)];
        return hosts.Count > 0 && hosts.All(IsLoopback);
    }

    /// <summary>Whether the configuration says where to listen.</summary>
    public static bool NamesAddress(IConfiguration configuration) => Addresses(configuration).Any();

    /// <summary>Lets Kestrel read its section, certificates and all, without listening.</summary>
    /// <exception cref="ConfigurationException">It cannot.</exception>
    public static void CheckServer(WebApplication app)
    {
        var section = app.Configuration.GetSection("Kestrel");

        // An endpoint of the section may have a certificate of its own, which is loaded with it; all others have the default one.
        var needsDefault = !section.GetSection("Endpoints").Exists()
            && Addresses(app.Configuration).Any(address => address.Url.StartsWith("https:", StringComparison.OrdinalIgnoreCase));
        if (!section.Exists() && !needsDefault)
        {
            return;
        }

        try
        {
            var server = new KestrelServerOptions { ApplicationServices = app.Services };
            server.Configure(section).Load();
            if (needsDefault)
            {
                server.Listen(IPAddress.Loopback, 0, listen => listen.UseHttps());
            }
        }
        catch (Exception exception) when (exception is InvalidOperationException or ArgumentException or FormatException or IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new ConfigurationException([$"Kestrel: {Secrets.Hide(exception.Message, app.Configuration)} A certificate is Kestrel:Certificates:Default:Path with :KeyPath or :Password."]);
        }
    }

    /// <summary>Whether .NET could not make a typed value of a text, for a section that a library binds; its message names the key.</summary>
    public static bool IsOfTheBinder(Exception exception) => exception.Source == typeof(ConfigurationBinder).Assembly.GetName().Name;

    /// <summary>What to say when the service cannot listen.</summary>
    public static string CannotListen(Exception exception) =>
        exception is SocketException
            ? $"The service cannot listen on its address: {exception.Message}. Choose one of this machine, and a port above 1023: --urls http://*:8081, or ASPNETCORE_URLS."

            // What Kestrel throws when a port is in use; it names the address.
            : $"{exception.Message} Stop what listens there, or choose another address: --urls http://*:8081, or ASPNETCORE_URLS.";

    private static void CheckLogging(IConfigurationSection logging, ICollection<string> errors)
    {
        foreach (var levels in logging.GetChildren().Select(child => child.Key.Equals("LogLevel", StringComparison.OrdinalIgnoreCase) ? child : child.GetSection("LogLevel")))
        {
            foreach (var level in levels.GetChildren())
            {
                if (level.Value is null)
                {
                    errors.Add($"{level.GetChildren().First().Path} is no category; its name is written with dots ({levels.Path}:Microsoft.AspNetCore).");
                }
                else if (!Enum.TryParse<LogLevel>(level.Value, ignoreCase: true, out var known) || !Enum.IsDefined(known))
                {
                    errors.Add(Wrong(level.Path, level.Value, $"it must be {string.Join(", ", Enum.GetNames<LogLevel>()[..^1])} or None."));
                }
            }
        }

        if (logging["Console:FormatterName"] is { } formatter && !Formatters.Contains(formatter, StringComparer.OrdinalIgnoreCase))
        {
            errors.Add(Wrong("Logging:Console:FormatterName", formatter, $"it must be {string.Join(", ", Formatters)}."));
        }

        foreach (var name in new[] { "SingleLine", "IncludeScopes", "UseUtcTimestamp" })
        {
            if (logging[$"Console:FormatterOptions:{name}"] is { } value && !bool.TryParse(value, out _))
            {
                errors.Add(Wrong($"Logging:Console:FormatterOptions:{name}", value, "it must be true or false."));
            }
        }

        try
        {
            _ = DateTimeOffset.UnixEpoch.ToString(logging["Console:FormatterOptions:TimestampFormat"], CultureInfo.CurrentCulture);
        }
        catch (FormatException)
        {
            errors.Add(Wrong("Logging:Console:FormatterOptions:TimestampFormat", logging["Console:FormatterOptions:TimestampFormat"], "it must be a format of .NET for dates, such as 'HH:mm:ss.fff '."));
        }
    }

    private static void CheckAddresses(IConfiguration configuration, ICollection<string> errors)
    {
        if (configuration["urls"] is { Length: > 0 } urls && Split(urls).Length == 0)
        {
            errors.Add(Wrong("urls", urls, $"{RightAddress}; several have semicolons between them."));
        }

        foreach (var key in new[] { "http_ports", "https_ports" })
        {
            foreach (var port in Split(configuration[key]).Where(port => !ushort.TryParse(port.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out _)))
            {
                errors.Add(Wrong(key, port, "a port is a whole number from 0 to 65535; several have semicolons between them."));
            }
        }

        var kestrel = configuration.GetSection("Kestrel");
        foreach (var endpoint in kestrel.GetSection("Endpoints").GetChildren().Where(endpoint => string.IsNullOrEmpty(endpoint["Url"])))
        {
            errors.Add($"{endpoint.Path}:Url is empty; {RightAddress}.");
        }

        foreach (var (key, url) in Addresses(configuration).Where(address => !address.Key.EndsWith("_ports", StringComparison.Ordinal) && !IsAddress(address.Url)))
        {
            errors.Add(Wrong(key, url, $"{RightAddress}; localhost has no port 0, and a path cannot be part of it."));
        }

        foreach (var (key, value) in kestrel.AsEnumerable())
        {
            if (value is not null && key.EndsWith(":Protocols", StringComparison.OrdinalIgnoreCase) && !(Enum.TryParse<HttpProtocols>(value, ignoreCase: true, out var protocols) && Enum.IsDefined(protocols)))
            {
                errors.Add(Wrong(key, value, "it must be Http1, Http2, Http1AndHttp2, Http3 or Http1AndHttp2AndHttp3."));
            }

            if (value is not null && key.Contains("Certificate", StringComparison.OrdinalIgnoreCase)
                && (key.EndsWith(":Path", StringComparison.OrdinalIgnoreCase) || key.EndsWith(":KeyPath", StringComparison.OrdinalIgnoreCase))
                && !File.Exists(Path.Combine(AppContext.BaseDirectory, value)))
            {
                errors.Add(Wrong(key, value, "there is no such file; a path is whole, or begins in the program's folder."));
            }
        }
    }

    private static void CheckHosts(IConfigurationSection section, ICollection<string> errors)
    {
        const string Right = "it must be names or addresses without ports, with semicolons between them, such as cache.example.com;*.internal;127.0.0.1, or * for all.";
        if (section.Value is null && section.GetChildren().Any())
        {
            errors.Add($"AllowedHosts is a list; {Right}");
        }
        else if (section.Value is { } value && (Split(value).Length == 0 || !Split(value).All(host => AllowedHost().IsMatch(host))))
        {
            errors.Add(Wrong("AllowedHosts", value, Right));
        }
    }

    private static void CheckTelemetry(IConfiguration configuration, ICollection<string> errors)
    {
        const string Endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
        const string Protocol = "OTEL_EXPORTER_OTLP_PROTOCOL";
        if (configuration[Endpoint] is { } endpoint && !string.IsNullOrWhiteSpace(endpoint)
            && !(Uri.TryCreate(endpoint, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"))
        {
            errors.Add(Wrong(Endpoint, endpoint, "it must be the address of a collector, such as http://localhost:4317."));
        }

        if (configuration[Protocol] is { Length: > 0 } protocol && !Protocols.Contains(protocol))
        {
            errors.Add(Wrong(Protocol, protocol, $"it must be {string.Join(" or ", Protocols)}."));
        }
    }

    /// <summary>Where the service is told to listen, each with its key; what of that wins is Kestrel's to say.</summary>
    private static IEnumerable<(string Key, string Url)> Addresses(IConfiguration configuration)
    {
        foreach (var endpoint in configuration.GetSection("Kestrel:Endpoints").GetChildren())
        {
            if (endpoint["Url"] is { Length: > 0 } url)
            {
                yield return ($"{endpoint.Path}:Url", url);
            }
        }

        foreach (var url in Split(configuration["urls"]))
        {
            yield return ("urls", url);
        }

        // Not looked at beside urls: images set them.
        if (!string.IsNullOrEmpty(configuration["urls"]))
        {
            yield break;
        }

        foreach (var scheme in new[] { "http", "https" })
        {
            foreach (var port in Split(configuration[$"{scheme}_ports"]))
            {
                yield return ($"{scheme}_ports", $"{scheme}://*:{port.Trim()}");
            }
        }
    }

    private static string[] Split(string? list) => (list ?? "").Split(';', StringSplitOptions.RemoveEmptyEntries);

    private static bool IsAddress(string url)
    {
        try
        {
            var address = BindingAddress.Parse(url);
            return address.Scheme.ToLowerInvariant() is "http" or "https"
                && address.PathBase.Length == 0
                && (address.IsUnixPipe || address.IsNamedPipe
                    || (address.Port is >= 0 and <= ushort.MaxValue
                        && (address.Host is "*" or "+" || ListenHost().IsMatch(address.Host))
                        && (address.Port > 0 || !address.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase))));
        }
        catch (Exception exception) when (exception is FormatException or ArgumentException)
        {
            return false;
        }
    }

    private static bool IsLoopback(string host) =>
        host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
        || host.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase)
        || (IPAddress.TryParse(host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));

    [GeneratedRegex(@"^([\p{L}\p{N}._-]+|\[[0-9A-Fa-f:.%]+\])\z")]
    private static partial Regex ListenHost();

    [GeneratedRegex(@"^(\*|(\*\.)?[\p{L}\p{N}_-]+(\.[\p{L}\p{N}_-]+)*|\[[0-9A-Fa-f:.]+\])\z")]
    private static partial Regex AllowedHost();
}
