using System.Net;
using System.Security.Claims;

namespace Cache.Service.Http;

/// <summary>Tells clients apart, for limits.</summary>
internal static class Clients
{
    /// <summary>Who asks: the key or the token's subject; without either, the remote address.</summary>
    public static string Of(HttpContext context)
    {
        var user = context.User;
        return user.Identity is { IsAuthenticated: true }
            && (user.FindFirst(ClaimTypes.NameIdentifier) ?? user.FindFirst("sub") ?? user.FindFirst("azp")) is { } claim
            ? $"{claim.Issuer} {claim.Value}"
            : Of(context.Connection.RemoteIpAddress);
    }

    /// <summary>Whose an address is.</summary>
    public static string Of(IPAddress? address)
    {
        if (address is null)
        {
            return "unknown";
        }

        if (address.IsIPv4MappedToIPv6)
        {
            address = address.MapToIPv4();
        }

        // A network gives a host as many IPv6 addresses as it likes; the first half tells the network.
        return address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6
            ? Convert.ToHexStringLower(address.GetAddressBytes().AsSpan(0, 8))
            : address.ToString();
    }
}
