using Aspire.Hosting.ApplicationModel;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.AppHost;

/// <summary>
/// One AppHost with everything embedded, two replicas, the simulator and the dashboard, for all tests of a collection. They come
/// one after the other, with no other tests in parallel, and leave the stack as they found it.
/// </summary>
public sealed class EmbeddedAppHost : IAsyncLifetime
{
    /// <summary>The collection of its tests.</summary>
    public const string Collection = "AppHost";

    // The simulator's windows are current, and those of the tests are later, so that each test has the newest ones.
    private long _window = TimeProvider.System.GetUtcNow().AddHours(1).ToUnixTimeMilliseconds() / 60_000 * 60_000;
    private bool _simulated = true;

    internal AppHostStack Stack { get; private set; } = null!;

    /// <summary>The start of an unused window, newer than all earlier ones.</summary>
    public long NextWindow() => Interlocked.Add(ref _window, 60_000);

    /// <inheritdoc/>
    public async ValueTask InitializeAsync() => Stack = await AppHostStack.StartAsync(
        ["--kafka", "embedded", "--redis", "embedded", "--simulator", "true"], dashboard: true, ("window_retention_count", "10000"));

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Stack.DisposeAsync();

    /// <summary>Starts or stops the simulator, if it is not in that state already.</summary>
    internal async Task SimulateAsync(bool simulated)
    {
        if (_simulated != simulated)
        {
            await Stack.CommandAsync("simulator", simulated ? KnownResourceCommands.StartCommand : KnownResourceCommands.StopCommand);
            _simulated = simulated;
        }

        if (!simulated)
        {
            await Eventually.HoldsAsync(() => Assert.Equal(Stack.Kafka.Ends(Rows.Events), Stack.Kafka.Committed(Rows.Events)));
        }
    }
}

/// <summary>The tests that share the <see cref="EmbeddedAppHost"/>.</summary>
[CollectionDefinition(EmbeddedAppHost.Collection, DisableParallelization = true)]
public sealed class EmbeddedAppHostCollection : ICollectionFixture<EmbeddedAppHost>;
