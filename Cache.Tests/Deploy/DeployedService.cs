using Cache.Service.Options;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Cache.Tests.Deploy;

/// <summary>The service as a deployment configures it: built, so that it has checked everything, but not started.</summary>
internal sealed class DeployedService : IAsyncDisposable
{
    private const string OfAspNet = "ASPNETCORE_";

    private readonly WebApplication _app;

    /// <summary>Builds the service.</summary>
    /// <param name="variables">
    /// Environment variables. They are handed over as options, because among those an unknown name is an error, whatever it is.
    /// </param>
    /// <exception cref="ConfigurationException">A name is unknown, or a value is wrong.</exception>
    public DeployedService(IEnumerable<KeyValuePair<string, string>> variables) =>
        _app = Service.Program.Build(["--Logging:Console:LogLevel:Default", "None", .. variables.SelectMany(variable => new[] { $"--{Key(variable.Key)}", variable.Value })]);

    public CacheOptions Options => _app.Services.GetRequiredService<CacheOptions>();

    /// <summary>The ports that it listens on.</summary>
    public IEnumerable<int> Ports => HostSettings.Addresses(_app.Configuration).Select(address => BindingAddress.Parse(address.Url).Port);

    /// <summary>The routes that it has.</summary>
    public IEnumerable<string?> Routes => ((IEndpointRouteBuilder)_app).DataSources.SelectMany(source => source.Endpoints).OfType<RouteEndpoint>().Select(route => route.RoutePattern.RawText);

    /// <summary>The longest that it takes to end after SIGTERM.</summary>
    public TimeSpan LongestStop => _app.Services.GetRequiredService<IOptions<HostOptions>>().Value.ShutdownTimeout + Service.Program.DisposeTimeout;

    /// <summary>The key that a variable sets.</summary>
    public static string Key(string variable) =>
        (variable.StartsWith(OfAspNet, StringComparison.Ordinal) ? variable[OfAspNet.Length..] : variable).Replace("__", ":", StringComparison.Ordinal);

    public ValueTask DisposeAsync() => _app.DisposeAsync();
}
