using System.Net;
using System.Security.Claims;

namespace Cache.Service.Http;

/// <summary>Identifies clients, for limits per client.</summary>
internal static class Clients
{
    /// <summary>The client that sent a request: its key or the token's subject, otherwise its remote address.</summary>
    public static string Of(HttpContext context)
    {
        var user = context.User;
        return user.Identity is { IsAuthenticated: true }
            && (user.FindFirst(ClaimTypes.NameIdentifier) ?? user.FindFirst("sub") ?? user.FindFirst("azp")) is { } claim
            ? $"{claim.Issuer} {claim.Value}"
            : Of(context.Connection.RemoteIpAddress);
    }

    /// <summary>The client at an address.</summary>
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

        // A host can have any number of IPv6 addresses in its network; the first half identifies the network.
        return address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6
            ? Convert.ToHexStringLower(address.GetAddressBytes().AsSpan(0, 8))
            : address.ToString();
    }
}
