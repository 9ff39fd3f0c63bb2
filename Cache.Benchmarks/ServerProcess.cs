using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;

namespace Cache.Benchmarks;

/// <summary>A server in a process of its own, so that what it costs can be told from what the measuring costs.</summary>
internal sealed partial class ServerProcess : IAsyncDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(60);

    private readonly Process _process;

    private ServerProcess(string program, IEnumerable<string> arguments)
    {
        _process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
    }

    /// <summary>The port it listens on.</summary>
    public int Port { get; private set; }

    /// <summary>Memory that it has in RAM, bytes.</summary>
    public long ResidentBytes
    {
        get
        {
            _process.Refresh();
            return _process.WorkingSet64;
        }
    }

    /// <summary>CPU time that it took so far.</summary>
    public TimeSpan Cpu
    {
        get
        {
            _process.Refresh();
            return _process.TotalProcessorTime;
        }
    }

    /// <summary>Starts one of our own programs on a free port, and waits until it says where it listens.</summary>
    public static async Task<ServerProcess> StartAsync(string assembly, params string[] arguments)
    {
        var server = new ServerProcess("dotnet", [Path.Combine(AppContext.BaseDirectory, assembly), .. arguments]);
        var listening = new TaskCompletionSource<int>();
        server._process.OutputDataReceived += (_, line) =>
        {
            if (Listening().Match(line.Data ?? "") is { Success: true } match)
            {
                listening.TrySetResult(int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture));
            }
        };
        server._process.BeginOutputReadLine();
        server._process.BeginErrorReadLine();
        server.Port = await listening.Task.WaitAsync(StartTimeout);
        return server;
    }

    /// <summary>Starts a redis-server on a free port that keeps nothing on disk.</summary>
    /// <exception cref="InvalidOperationException">There is none on this machine.</exception>
    public static async Task<ServerProcess> StartRedisAsync()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        var port = ((IPEndPoint)probe.LocalEndpoint).Port;
        probe.Stop();
        try
        {
            var server = new ServerProcess("redis-server", ["--port", $"{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", Path.GetTempPath()]) { Port = port };
            server._process.BeginOutputReadLine();
            server._process.BeginErrorReadLine();
            var began = Stopwatch.GetTimestamp();
            while (!await AnswersAsync(port))
            {
                if (Stopwatch.GetElapsedTime(began) > StartTimeout)
                {
                    throw new InvalidOperationException($"redis-server did not start on port {port}.");
                }

                await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, CancellationToken.None);
            }

            return server;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            throw new InvalidOperationException("redis-server is not installed; the figures are those of a real one.");
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private static async Task<bool> AnswersAsync(int port)
    {
        try
        {
            using var client = new TcpClient();
            await client.ConnectAsync(IPAddress.Loopback, port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    [GeneratedRegex(@"Now listening on: http://127\.0\.0\.1:(\d+)")]
    private static partial Regex Listening();
}
