using System.Buffers.Text;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Cache.Benchmarks;

/// <summary>
/// Connections that request one route in a loop, one request at a time each. A single thread serves them in turn with blocking
/// sockets: two system calls per request are the least a client can cost on cores that it shares with the server.
/// </summary>
internal static class ReadClients
{
    private const int Connections = 32;
    private const int MaxHeaderBytes = 4096;

    /// <summary>Sends requests for a time, and at least until a number of answers has arrived.</summary>
    /// <param name="port">The port of the server.</param>
    /// <param name="route">The route.</param>
    /// <param name="length">The length of its answer.</param>
    /// <param name="span">How long to ask.</param>
    /// <param name="atLeast">The least number of answers.</param>
    /// <param name="headers">Further headers, each with its line end.</param>
    /// <returns>The number of answers, the time it took, and the 99th percentile of the time from a request to its answer.</returns>
    /// <exception cref="InvalidOperationException">An answer was not 200, or had another length, so its speed means nothing.</exception>
    public static (long Answers, TimeSpan Elapsed, TimeSpan P99) Ask(int port, string route, int length, TimeSpan span, long atLeast = 0, string headers = "")
    {
        var request = Encoding.ASCII.GetBytes($"GET {route} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        var buffer = new byte[MaxHeaderBytes + length];
        var sockets = new Socket[Connections];
        var askedAt = new long[Connections];
        var waits = new List<long>();
        for (var at = 0; at < Connections; at++)
        {
            sockets[at] = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, ReceiveTimeout = 10_000 };
            sockets[at].Connect(IPAddress.Loopback, port);
            askedAt[at] = Stopwatch.GetTimestamp();
            sockets[at].Send(request);
        }

        var started = Stopwatch.GetTimestamp();
        long answers = 0;
        while (answers < atLeast || Stopwatch.GetElapsedTime(started) < span)
        {
            for (var at = 0; at < Connections; at++)
            {
                Receive(sockets[at], buffer, length);
                var now = Stopwatch.GetTimestamp();
                waits.Add(now - askedAt[at]);
                askedAt[at] = now;
                sockets[at].Send(request);
            }

            answers += Connections;
        }

        var elapsed = Stopwatch.GetElapsedTime(started);
        Array.ForEach(sockets, socket => socket.Dispose());
        waits.Sort();
        return (answers, elapsed, Stopwatch.GetElapsedTime(0, waits[(int)(waits.Count * 0.99)]));
    }

    private static void Receive(Socket socket, byte[] buffer, int length)
    {
        var (received, end) = (0, -1);
        while (end < 0 || received < end)
        {
            received += socket.Receive(buffer, received, buffer.Length - received, SocketFlags.None) is > 0 and var read
                ? read : throw new InvalidOperationException("The server closed a connection.");
            var answer = buffer.AsSpan(0, received);
            if (end < 0 && answer.IndexOf("\r\n\r\n"u8) is >= 0 and var head)
            {
                end = head + 4 + Length(answer[..(head + 2)]);
                if (end != head + 4 + length)
                {
                    throw new InvalidOperationException($"Unexpected answer: {Encoding.ASCII.GetString(answer)}");
                }
            }
        }
    }

    /// <summary>The length of the answer's body; -1 if it is not a 200, or has no length.</summary>
    private static int Length(ReadOnlySpan<byte> head)
    {
        var name = "\r\nContent-Length: "u8;
        return head.StartsWith("HTTP/1.1 200 "u8) && head.IndexOf(name) is >= 0 and var at && Utf8Parser.TryParse(head[(at + name.Length)..], out int length, out _)
            ? length : -1;
    }
}
