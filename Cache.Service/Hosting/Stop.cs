using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Cache.Service.Hosting;

/// <summary>
/// Shuts the service down: all parts stop at the same time, each with its own timeout, so that rows are written and committed
/// whatever clients do with their connections.
/// </summary>
internal static class Stop
{
    // The slowest worker takes up to 20 s, and the rest a few more. By default, orchestrators kill after 30 s.
    private static readonly TimeSpan HostTimeout = TimeSpan.FromSeconds(25);

    public static void AddStop(this WebApplicationBuilder builder)
    {
        builder.Services.Configure<HostOptions>(host =>
        {
            host.ServicesStopConcurrently = true;
            host.ShutdownTimeout = HostTimeout;
        });

        builder.Services.AddSingleton<FatalError>();

        // Main handles signals, and has done so since before the host existed.
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();

        var server = builder.Services.Last(service => service.ServiceType == typeof(IServer));
        builder.Services.Replace(ServiceDescriptor.Singleton<IServer>(services =>
            new DrainingServer((IServer)ActivatorUtilities.CreateInstance(services, server.ImplementationType!))));
    }

    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>On shutdown, gives requests a few seconds to complete, then closes the remaining connections.</summary>
    private sealed class DrainingServer(IServer server) : IServer
    {
        private static readonly TimeSpan DrainTimeout = TimeSpan.FromSeconds(5);

        public IFeatureCollection Features => server.Features;

        public Task StartAsync<TContext>(IHttpApplication<TContext> application, CancellationToken cancellationToken)
            where TContext : notnull => server.StartAsync(application, cancellationToken);

        public async Task StopAsync(CancellationToken cancellationToken)
        {
            using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            timeout.CancelAfter(DrainTimeout);
            await server.StopAsync(timeout.Token);
        }

        public void Dispose() => server.Dispose();
    }
}
