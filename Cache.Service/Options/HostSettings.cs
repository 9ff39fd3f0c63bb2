using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using static Microsoft.Extensions.Hosting.FlatKeys;

namespace Cache.Service.Options;

/// <summary>
/// Checks the keys that ASP.NET reads: addresses, allowed hosts, logging and telemetry. ASP.NET itself finds most errors only when
/// it starts, reports them one at a time with a stack trace, and misses some.
/// </summary>
internal static partial class HostSettings
{
    private const string ExpectedAddress = "it must be http://host:port or https://host:port with a port from 0 to 65535, such as http://*:8080 or http://127.0.0.1:8080";

    /// <summary>Keys without a section that .NET's host and ASP.NET read.</summary>
    public static readonly IReadOnlyList<string> Keys =
    [
        "AllowedHosts", "applicationName", "captureStartupErrors", "contentRoot", "detailedErrors", "environment", "ForwardedHeaders_Enabled", "hostingStartupAssemblies",
        "hostingStartupExcludeAssemblies", "http_ports", "https_ports", "preferHostingUrls", "preventHostingStartup", "shutdownTimeoutSeconds", "suppressStatusMessages",
        "urls", "webroot",
    ];

    /// <summary>Sections that ASP.NET and the client libraries read.</summary>
    public static readonly IReadOnlyList<string> Sections =
        ["Aspire", "Authentication", "hostBuilder", "HttpClientFactory", "Kafka", "Kestrel", "Logging", "Metrics", "Polly", "services"];

    private static readonly string[] Protocols = ["grpc", "http/protobuf"];
    private static readonly string[] Formatters = ["simple", "json", "systemd"];

    /// <summary>Checks the keys, and adds one sentence per error.</summary>
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
    /// Whether the service listens on loopback addresses only: then only programs on this machine can reach it, including
    /// browsers that show any page.
    /// </summary>
    /// <param name="configuration">A configuration that passed <see cref="Check"/>.</param>
    /// <param name="hosts">The hosts of the listening addresses.</param>
    public static bool IsLoopbackOnly(IConfiguration configuration, out IReadOnlyList<string> hosts)
    {
        hosts = [.. Addresses(configuration).Select(address => BindingAddress.Parse(address.Url).Host)];
        return hosts.Count > 0 && hosts.All(IsLoopback);
    }

    /// <summary>Whether the configuration sets a listening address.</summary>
    public static bool NamesAddress(IConfiguration configuration) => Addresses(configuration).Any();

    /// <summary>Makes Kestrel load its section, including certificates, without listening.</summary>
    /// <exception cref="ConfigurationException">Kestrel cannot load its section.</exception>
    public static void CheckServer(WebApplication app)
    {
        var section = app.Configuration.GetSection("Kestrel");

        // Endpoints in the section may have their own certificates, loaded with it; all other addresses use the default one.
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
            throw new ConfigurationException([NoCertificate(exception, Secrets.Hide(exception.Message.TrimEnd('.'), app.Configuration))]);
        }
    }

    /// <summary>
    /// Whether .NET failed to convert a value in a section that a library binds. The exception's message contains the key.
    /// </summary>
    public static bool IsOfTheBinder(Exception exception) => exception.Source == typeof(ConfigurationBinder).Assembly.GetName().Name;

    private static string NoCertificate(Exception exception, string text) =>
        exception is InvalidOperationException && text.Contains("certificate", StringComparison.OrdinalIgnoreCase)
            ? "Kestrel: there is no certificate for an https:// address. Set Kestrel:Certificates:Default:Path, with :KeyPath for PEM files or :Password for a PFX file; for development, dotnet dev-certs https makes one."
            : exception is CryptographicException
                ? $"Kestrel: a certificate cannot be read ({text}). Check the file, its :KeyPath (PEM) and its :Password (PFX, or an encrypted key)."
                : $"Kestrel: {text}.";

    private static void CheckLogging(IConfigurationSection logging, ICollection<string> errors)
    {
        foreach (var levels in logging.GetChildren().Select(child => child.Key.Equals("LogLevel", StringComparison.OrdinalIgnoreCase) ? child : child.GetSection("LogLevel")))
        {
            foreach (var level in levels.GetChildren())
            {
                if (level.Value is null)
                {
                    errors.Add($"{level.GetChildren().First().Path} is not a log category; write its name with dots ({levels.Path}:Microsoft.AspNetCore).");
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
            errors.Add(Wrong("Logging:Console:FormatterOptions:TimestampFormat", logging["Console:FormatterOptions:TimestampFormat"], "it must be a .NET date format, such as 'HH:mm:ss.fff '."));
        }
    }

    private static void CheckAddresses(IConfiguration configuration, ICollection<string> errors)
    {
        if (configuration["urls"] is { Length: > 0 } urls && Split(urls).Length == 0)
        {
            errors.Add(Wrong("urls", urls, $"{ExpectedAddress}; separate several with semicolons."));
        }

        foreach (var key in new[] { "http_ports", "https_ports" })
        {
            foreach (var port in Split(configuration[key]).Where(port => !ushort.TryParse(port.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out _)))
            {
                errors.Add(Wrong(key, port, "each port must be a whole number from 0 to 65535; separate several with semicolons."));
            }
        }

        var kestrel = configuration.GetSection("Kestrel");
        foreach (var endpoint in kestrel.GetSection("Endpoints").GetChildren().Where(endpoint => string.IsNullOrEmpty(endpoint["Url"])))
        {
            errors.Add($"{endpoint.Path}:Url is empty; {ExpectedAddress}.");
        }

        foreach (var (key, url) in Addresses(configuration).Where(address => !address.Key.EndsWith("_ports", StringComparison.Ordinal) && !IsAddress(address.Url)))
        {
            errors.Add(Wrong(key, url, $"{ExpectedAddress}; localhost does not support port 0, and a path is not allowed."));
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
                errors.Add(Wrong(key, value, "there is no such file; the path must be absolute, or relative to the program's folder."));
            }
        }
    }

    private static void CheckHosts(IConfigurationSection section, ICollection<string> errors)
    {
        const string Expected = "it must be names or addresses without ports, separated by semicolons, such as cache.example.com;*.internal;127.0.0.1, or * for all.";
        if (section.Value is null && section.GetChildren().Any())
        {
            errors.Add($"AllowedHosts is a list; {Expected}");
        }
        else if (section.Value is { } value && (Split(value).Length == 0 || !Split(value).All(host => AllowedHost().IsMatch(host))))
        {
            errors.Add(Wrong("AllowedHosts", value, Expected));
        }
    }

    private static void CheckTelemetry(IConfiguration configuration, ICollection<string> errors)
    {
        const string Endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
        const string Protocol = "OTEL_EXPORTER_OTLP_PROTOCOL";
        if (configuration[Endpoint] is { } endpoint && !string.IsNullOrWhiteSpace(endpoint)
            && !(Uri.TryCreate(endpoint, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"))
        {
            errors.Add(Wrong(Endpoint, endpoint, "it must be the address of an OTLP collector, such as http://localhost:4317."));
        }

        if (configuration[Protocol] is { Length: > 0 } protocol && !Protocols.Contains(protocol))
        {
            errors.Add(Wrong(Protocol, protocol, $"it must be {string.Join(" or ", Protocols)}."));
        }
    }

    /// <summary>The configured listening addresses with their keys; Kestrel decides which of them takes precedence.</summary>
    public static IEnumerable<(string Key, string Url)> Addresses(IConfiguration configuration)
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

        // Ignored if urls is set: container images set the ports by default.
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
