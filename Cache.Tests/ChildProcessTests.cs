using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Cache.Embedded;
using Cache.Tests.EndToEnd;

namespace Cache.Tests;

public sealed class ChildProcessTests
{
    [Fact]
    public async Task Child_DoesNotKeepTheConnectionsOfABrokerOpen()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Elsewhere children inherit them.");
        await using var kafka = await EmbeddedKafka.StartAsync(1, TestContext.Current.CancellationToken);
        using var client = new TcpClient();
        await client.ConnectAsync(IPEndPoint.Parse(kafka.BootstrapServers), TestContext.Current.CancellationToken);
        var stream = client.GetStream();

        // ApiVersions: the response proves that the broker has accepted the connection.
        byte[] request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF];
        await stream.WriteAsync(request, TestContext.Current.CancellationToken);
        var length = new byte[4];
        await stream.ReadExactlyAsync(length, TestContext.Current.CancellationToken);
        await stream.ReadExactlyAsync(new byte[BinaryPrimitives.ReadInt32BigEndian(length)], TestContext.Current.CancellationToken);

        using var child = ChildProcess.Start("sleep", "100");
        try
        {
            kafka.BreakAllBrokers();
            Assert.Equal(0, await stream.ReadAsync(length, TestContext.Current.CancellationToken).AsTask().WaitAsync(Eventually.TestTimeout, TestContext.Current.CancellationToken));
        }
        finally
        {
            child.Kill();
        }
    }
}
