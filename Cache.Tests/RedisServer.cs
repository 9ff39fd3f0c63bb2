using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Cache.Tests;

/// <summary>
/// A real redis-server as a child process on 127.0.0.1, without persistence; it can be stopped, killed, frozen and restarted.
/// </summary>
public sealed class RedisServer : IAsyncDisposable
{
    private static readonly TimeSpan StartTimeout = TestTimeout.Full;

    private readonly string _program;
    private readonly string? _password;
    private readonly string[] _arguments;
    private readonly bool _tls;
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("redis-");
    private Process? _process;

    private RedisServer(string program, string? password, string[] arguments)
    {
        _program = program;
        _password = password;
        _arguments = arguments;
        _tls = arguments.Contains("--tls-cert-file");
    }

    /// <summary>Its port, which is the same after a restart.</summary>
    public int Port { get; private set; }

    /// <summary>Its connection string, with <c>password=</c> and <c>ssl=true</c> if needed, as Aspire writes it.</summary>
    public string ConnectionString =>
        $"127.0.0.1:{Port}{(_password is null ? "" : $",password={_password}")}{(_tls ? ",ssl=true" : "")}";

    /// <summary>The process id.</summary>
    /// <exception cref="InvalidOperationException">It is not running.</exception>
    public int ProcessId => Running.Id;

    private Process Running => _process ?? throw new InvalidOperationException("redis-server is not running.");

    /// <summary>Returns the path of redis-server; skips the test if it is not installed.</summary>
    public static string Require() => Requirement.Program("redis-server", "redis");

    /// <summary>Starts a server on a free port; skips the test if redis-server is not installed.</summary>
    /// <param name="password">The password that clients need; null for none.</param>
    /// <param name="arguments">Further arguments; with <c>--tls-cert-file</c>, the port accepts only TLS.</param>
    public static async Task<RedisServer> StartAsync(string? password = null, params string[] arguments)
    {
        var server = new RedisServer(Require(), password, arguments);
        for (var attempt = 1; ; attempt++)
        {
            server.Port = FreePort();
            try
            {
                await server.LaunchAsync();
                return server;
            }
            catch (InvalidOperationException) when (attempt < 5)
            {
                // Another process has taken the port since it was found to be free.
            }
            catch
            {
                await server.DisposeAsync();
                throw;
            }
        }
    }

    /// <summary>Kills it at once (SIGKILL).</summary>
    public void Kill()
    {
        Running.Kill();
        WaitForExit();
    }

    /// <summary>Asks it to stop (SIGTERM), and waits until it has.</summary>
    public void Stop()
    {
        ChildProcess.Signal(Running, ChildProcess.SigTerm);
        WaitForExit();
    }

    /// <summary>Suspends it, with its connections open (SIGSTOP).</summary>
    public void Freeze() => ChildProcess.Signal(Running, ChildProcess.SigStop);

    /// <summary>Resumes it after <see cref="Freeze"/> (SIGCONT).</summary>
    public void Thaw() => ChildProcess.Signal(Running, ChildProcess.SigCont);

    /// <summary>Restarts it on the same port, without data; kills it first if it is running.</summary>
    public async Task RestartAsync()
    {
        if (_process is not null)
        {
            Kill();
        }

        _folder.Delete(recursive: true);
        _folder.Create();
        await LaunchAsync();
    }

    /// <summary>Restarts it on the same port with the data saved on disk, as by SAVE; kills it first if it is running.</summary>
    /// <param name="arguments">Further arguments, for this run only.</param>
    public async Task RestartFromDiskAsync(params string[] arguments)
    {
        if (_process is not null)
        {
            Kill();
        }

        await LaunchAsync(arguments);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        if (_process is not null)
        {
            Kill();
        }

        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private async Task LaunchAsync(params string[] more)
    {
        string[] port = _tls ? ["--port", "0", "--tls-port", $"{Port}"] : ["--port", $"{Port}"];
        string[] password = _password is null ? [] : ["--requirepass", _password];
        string[] memoryOnly = ["--save", "", "--appendonly", "no", "--dir", _folder.FullName];
        var output = new StringBuilder();
        _process = ChildProcess.Start(_program, [.. port, "--bind", "127.0.0.1", .. memoryOnly, .. password, .. _arguments, .. more]);
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();

        var began = Stopwatch.StartNew();
        while (!await AnswersAsync())
        {
            if (_process.HasExited || began.Elapsed > StartTimeout)
            {
                Kill();
                throw new InvalidOperationException($"redis-server did not start on port {Port}: {output}");
            }

            await Task.Delay(20);
        }

        void Keep(string? line)
        {
            lock (output)
            {
                output.AppendLine(line);
            }
        }
    }

    private async Task<bool> AnswersAsync()
    {
        try
        {
            using var client = new TcpClient();
            await client.ConnectAsync(IPAddress.Loopback, Port);
            if (_tls)
            {
                return true;
            }

            var stream = client.GetStream();
            await stream.WriteAsync("PING\r\n"u8.ToArray());
            var reply = new byte[64];
            var length = await stream.ReadAsync(reply);
            return reply.AsSpan(0, length) is var said && (said.StartsWith("+PONG"u8) || said.StartsWith("-NOAUTH"u8) || said.StartsWith("-LOADING"u8));
        }
        catch (Exception exception) when (exception is SocketException or IOException)
        {
            return false;
        }
    }

    private void WaitForExit()
    {
        Running.WaitForExit();
        Running.Dispose();
        _process = null;
    }
}
