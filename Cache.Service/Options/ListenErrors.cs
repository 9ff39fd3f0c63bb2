using System.Net.Sockets;
using System.Text.RegularExpressions;

namespace Cache.Service.Options;

/// <summary>Explains why the service cannot listen.</summary>
internal static partial class ListenErrors
{
    /// <summary>The message to print when the service cannot listen: one line, with what to do about it.</summary>
    public static string Explain(Exception exception, IConfiguration configuration)
    {
        // Only the text of the exception names the address.
        if (exception is IOException && BoundPort().Match(exception.Message) is { Success: true } match)
        {
            var port = match.Groups["port"].Value;
            return $"Port {port} is in use: another program, or another instance of this one, listens on {match.Groups["address"].Value}. Stop it (ss -ltnp shows which it is), or set {KeyOf(port, configuration)} to another port.";
        }

        var addresses = string.Join(", ", HostSettings.Addresses(configuration).Select(address => address.Url));
        return exception.GetBaseException() switch
        {
            SocketException { SocketErrorCode: SocketError.AccessDenied } => $"The service may not listen on {addresses}: ports below 1024 need a permission. Choose another port: --urls http://*:8080, or ASPNETCORE_URLS.",
            SocketException { SocketErrorCode: SocketError.AddressNotAvailable } => $"The service cannot listen on {addresses}: this machine does not have that address. Choose one that it has, or all: --urls http://*:8080, or ASPNETCORE_URLS.",
            _ => $"The service cannot listen on {addresses}: {exception.Message.TrimEnd('.')}. Choose another address: --urls http://*:8080, or ASPNETCORE_URLS.",
        };
    }

    private static string KeyOf(string port, IConfiguration configuration) =>
        configuration["health_port"] == port ? "health_port"
        : HostSettings.Addresses(configuration).FirstOrDefault(address => address.Key.StartsWith("Kestrel", StringComparison.OrdinalIgnoreCase) && address.Url.EndsWith($":{port}", StringComparison.Ordinal)) is { Key: { } key } ? key
        : "--urls (or ASPNETCORE_URLS)";

    [GeneratedRegex(@"(?<address>https?://\S+:(?<port>[0-9]+)): address already in use", RegexOptions.ExplicitCapture)]
    private static partial Regex BoundPort();
}
