using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Cache.Tests.EndToEnd;

/// <summary>The service, built by its own <c>Program</c>, in this process on a free port.</summary>
internal sealed class ServiceInProcess : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly LogCapture _log;
    private bool _stopped;

    private ServiceInProcess(WebApplication app, LogCapture log)
    {
        (_app, _log) = (app, log);
        Http = new HttpClient { BaseAddress = new Uri(app.Urls.First()), Timeout = TestTimeout.Full };
    }

    public HttpClient Http { get; }

    public IReadOnlyCollection<string> Log => _log.Lines;

    public string RecentLog => _log.ToString();

    public T Get<T>() where T : notnull => _app.Services.GetRequiredService<T>();

    public static async Task<ServiceInProcess> StartAsync(IEnumerable<KeyValuePair<string, string>> settings)
    {
        string[] quiet = ["--urls", "http://127.0.0.1:0", "--Logging:Console:LogLevel:Default", "None"];
        var app = Service.Program.Build([.. quiet, .. settings.SelectMany(setting => new[] { "--" + setting.Key, setting.Value })]);
        var log = new LogCapture();
        app.Services.GetRequiredService<ILoggerFactory>().AddProvider(log);
        try
        {
            await app.StartAsync();
            return new(app, log);
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
    }

    /// <summary>Stops it as SIGTERM does.</summary>
    public async Task StopAsync()
    {
        if (!_stopped)
        {
            _stopped = true;
            await _app.StopAsync();
        }
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await StopAsync();
        await _app.DisposeAsync();
    }
}
