using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace Cache.Benchmarks;

/// <summary>A server in its own process, which separates its cost from the cost of measuring.</summary>
internal sealed partial class ServerProcess : IAsyncDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan LineTimeout = TimeSpan.FromMinutes(5);

    private static readonly ConcurrentDictionary<ServerProcess, bool> Running = new();

    private readonly Process _process;
    private readonly Lock _lock = new();
    private readonly List<(string Line, long At)> _lines = [];
    private TaskCompletionSource _more = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private ServerProcess(string program, IEnumerable<string> arguments)
    {
        _process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        _process.OutputDataReceived += (_, line) => Note(line.Data);
        _process.ErrorDataReceived += (_, line) => Note(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        _process.EnableRaisingEvents = true;
        _process.Exited += (_, _) => Note(null);
        Running[this] = true;
    }

    /// <summary>The port that it listens on.</summary>
    public int Port { get; private set; }

    /// <summary>Its resident memory, in bytes.</summary>
    public long ResidentBytes
    {
        get
        {
            _process.Refresh();
            return _process.WorkingSet64;
        }
    }

    /// <summary>The CPU time it has used so far.</summary>
    public TimeSpan Cpu
    {
        get
        {
            if (OperatingSystem.IsLinux() && NativeMethods.ReadClock(NativeMethods.ClockOf(_process.Id), out var used) == 0)
            {
                return new TimeSpan((long)used.Seconds * TimeSpan.TicksPerSecond) + TimeSpan.FromMicroseconds(used.Nanoseconds / 1000.0);
            }

            _process.Refresh();
            return _process.TotalProcessorTime;
        }
    }

    /// <summary>Sends it a signal: <c>STOP</c>, <c>CONT</c>.</summary>
    public void Signal(string name)
    {
        using var kill = Process.Start("kill", [$"-{name}", $"{_process.Id}"]);
        kill.WaitForExit();
    }

    /// <summary>Starts one of our own programs.</summary>
    public static ServerProcess Start(string assembly, params IEnumerable<string> arguments) =>
        new("dotnet", [Path.Combine(AppContext.BaseDirectory, assembly), .. arguments]);

    /// <summary>Starts one of our own programs on a free port, and waits until it reports its address.</summary>
    public static async Task<ServerProcess> StartAsync(string assembly, params IEnumerable<string> arguments)
    {
        var server = Start(assembly, arguments);
        var (line, _) = await server.LineAsync("Now listening on: ");
        server.Port = int.Parse(Listening().Match(line).Groups[1].Value, CultureInfo.InvariantCulture);
        return server;
    }

    /// <summary>Waits for a line of output.</summary>
    /// <returns>The first line with the text, and when it was printed (<see cref="Stopwatch.GetTimestamp"/>).</returns>
    /// <exception cref="InvalidOperationException">The process ended without printing it.</exception>
    /// <exception cref="TimeoutException">Nothing was printed for minutes.</exception>
    public async Task<(string Line, long At)> LineAsync(string text)
    {
        while (true)
        {
            Task more;
            lock (_lock)
            {
                var at = _lines.FindIndex(line => line.Line.Contains(text, StringComparison.Ordinal));
                if (at >= 0)
                {
                    return _lines[at];
                }

                if (_process.HasExited)
                {
                    throw new InvalidOperationException($"A process ended:\n{string.Join('\n', _lines.Select(line => line.Line))}");
                }

                more = _more.Task;
            }

            await more.WaitAsync(LineTimeout);
        }
    }

    /// <summary>Starts a redis-server on a free port that keeps nothing on disk.</summary>
    /// <exception cref="InvalidOperationException">redis-server is not installed, or did not start.</exception>
    public static async Task<ServerProcess> StartRedisAsync()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        var port = ((IPEndPoint)probe.LocalEndpoint).Port;
        probe.Stop();
        try
        {
            var server = new ServerProcess("redis-server", ["--port", $"{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", Path.GetTempPath()]) { Port = port };
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
            throw new InvalidOperationException("redis-server is not installed. The benchmarks need a real one.");
        }
    }

    /// <summary>Kills remaining servers: a run that failed halfway leaves some behind, even suspended ones, which nothing else would end.</summary>
    public static void KillAll()
    {
        foreach (var server in Running.Keys)
        {
            server._process.Kill();
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Running.TryRemove(this, out _);
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private void Note(string? line)
    {
        TaskCompletionSource more;
        lock (_lock)
        {
            if (line is not null)
            {
                _lines.Add((line, Stopwatch.GetTimestamp()));
            }

            (more, _more) = (_more, new(TaskCreationOptions.RunContinuationsAsynchronously));
        }

        more.SetResult();
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

    /// <summary>/proc counts CPU time in steps of 10 ms, too coarse for an idle process; the kernel's clock of a process in nanoseconds.</summary>
    private static class NativeMethods
    {
        /// <summary>The id of the CPU-time clock of a process, as clock_getcpuclockid(3) makes it.</summary>
        public static int ClockOf(int process) => (~process << 3) | 2;

        [DllImport("libc", EntryPoint = "clock_gettime")]
        [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
        public static extern int ReadClock(int clock, out Time time);

        /// <summary>A <c>timespec</c>.</summary>
        public readonly record struct Time(nint Seconds, nint Nanoseconds);
    }

    [GeneratedRegex(@"://127\.0\.0\.1:(\d+)")]
    private static partial Regex Listening();
}
