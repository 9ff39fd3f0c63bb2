using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Cache.Service.Hosting;

/// <summary>
/// How the service stops: everything at once, each part within a time of its own. So rows are written and committed whatever
/// clients do with their connections.
/// </summary>
internal static class Stop
{
    // The longest of the workers takes 20 s, what is left then a few more; orchestrators kill after 30 s unless told otherwise.
    private static readonly TimeSpan HostTimeout = TimeSpan.FromSeconds(25);

    public static void AddStop(this WebApplicationBuilder builder)
    {
        builder.Services.Configure<HostOptions>(host =>
        {
            host.ServicesStopConcurrently = true;
            host.ShutdownTimeout = HostTimeout;
        });

        builder.Services.AddSingleton<FatalError>();

        // Main listens to signals, and has done so since before there was a host.
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();

        var server = builder.Services.Last(service => service.ServiceType == typeof(IServer));
        builder.Services.Replace(ServiceDescriptor.Singleton<IServer>(services =>
            new DrainedServer((IServer)ActivatorUtilities.CreateInstance(services, server.ImplementationType!))));
    }

    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>Gives requests a few seconds at the stop; connections that are open after that are closed.</summary>
    private sealed class DrainedServer(IServer server) : IServer
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
