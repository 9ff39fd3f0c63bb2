using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.Telemetry;

/// <summary>A real Prometheus as a child process on 127.0.0.1, which scrapes every second.</summary>
internal sealed partial class PrometheusServer : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("prometheus-");
    private readonly List<string> _output = [];
    private readonly HttpClient _http = new() { Timeout = TestTimeout.Full };
    private Process? _process;

    private PrometheusServer()
    {
    }

    /// <summary>Returns the path of prometheus; skips the test if it or promtool is not installed.</summary>
    public static string Require()
    {
        Requirement.Program("promtool", "prometheus");
        return Requirement.Program("prometheus", "prometheus");
    }

    /// <summary>Starts a server on a free port. The test has to call <see cref="Require"/> first.</summary>
    /// <param name="rules">The file with its rules.</param>
    /// <param name="targets">The hosts and ports to scrape.</param>
    public static async Task<PrometheusServer> StartAsync(string rules, params string[] targets)
    {
        var program = Require();
        var server = new PrometheusServer();
        try
        {
            var configuration = Path.Combine(server._folder.FullName, "prometheus.yml");
            await File.WriteAllTextAsync(configuration, $$"""
                global: { scrape_interval: 1s, evaluation_interval: 1s }
                rule_files: ["{{rules}}"]
                scrape_configs:
                  - job_name: cache
                    static_configs: [{ targets: [{{string.Join(", ", targets.Select(target => $"\"{target}\""))}}] }]
                """);
            server.Launch(program, $"--config.file={configuration}", $"--storage.tsdb.path={server._folder.FullName}/data", "--web.listen-address=127.0.0.1:0");
            await Eventually.HoldsAsync(async () =>
            {
                var address = Address().Match(server.Output);
                Assert.True(address.Success, server.Output);
                server._http.BaseAddress ??= new($"http://{address.Groups[1].Value}");
                Assert.True((await server._http.GetAsync("/-/ready")).IsSuccessStatusCode, server.Output);
            });
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    private string Output
    {
        get
        {
            lock (_output)
            {
                return string.Join('\n', _output);
            }
        }
    }

    /// <summary>The samples that a query has now.</summary>
    public async Task<List<JsonElement>> QueryAsync(string expression) =>
        [.. (await GetAsync($"/api/v1/query?query={Uri.EscapeDataString(expression)}")).GetProperty("result").EnumerateArray()];

    /// <summary>The rules, with their health and state.</summary>
    public async Task<List<JsonElement>> RulesAsync() =>
        [.. (await GetAsync("/api/v1/rules")).GetProperty("groups").EnumerateArray().SelectMany(group => group.GetProperty("rules").EnumerateArray())];

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        if (_process is not null)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
            _process.Dispose();
        }

        _folder.Delete(recursive: true);
    }

    private void Launch(string program, params string[] arguments)
    {
        Requirement.Started();
        _process = ChildProcess.Start(program, arguments);
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    private void Keep(string? line)
    {
        lock (_output)
        {
            _output.Add(line ?? "");
        }
    }

    private async Task<JsonElement> GetAsync(string route)
    {
        using var answer = await _http.GetAsync(route);
        var body = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.IsSuccessStatusCode, $"{Uri.UnescapeDataString(route)}: {body}");
        return JsonElement.Parse(body).GetProperty("data");
    }

    [GeneratedRegex(@"TLS is disabled.*address=(127\.0\.0\.1:\d+)")]
    private static partial Regex Address();
}
