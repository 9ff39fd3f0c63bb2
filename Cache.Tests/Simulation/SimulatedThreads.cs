namespace Cache.Tests.Simulation;

/// <summary>
/// Replaces the thread pool of one process: continuations wait until the schedule runs them, in an order of its choice. A
/// whole schedule runs on one thread; a continuation from another thread would make it depend on the machine, and so fails it.
/// </summary>
internal sealed class SimulatedThreads : SynchronizationContext
{
    private readonly List<(SendOrPostCallback Callback, object? State)> _ready = [];
    private readonly int _thread = Environment.CurrentManagedThreadId;
    private bool _ended;

    /// <summary>Number of continuations that are ready to run.</summary>
    public int Ready => _ready.Count;

    /// <summary>The continuation that came from another thread; null as long as none did.</summary>
    public string? Strayed { get; private set; }

    public override void Post(SendOrPostCallback d, object? state)
    {
        if (Environment.CurrentManagedThreadId != _thread)
        {
            Strayed ??= $"a continuation came from another thread: {Environment.StackTrace}";
        }
        else if (!_ended)
        {
            _ready.Add((d, state));
        }
    }

    public override void Send(SendOrPostCallback d, object? state) => throw new NotSupportedException();

    public override SynchronizationContext CreateCopy() => this;

    /// <summary>Runs one of the ready continuations.</summary>
    public void RunOne(int index)
    {
        var (callback, state) = _ready[index];
        _ready.RemoveAt(index);
        Run(callback, state);
    }

    /// <summary>Runs an action as a thread of this process.</summary>
    public void Run(Action action) => Run(static action => ((Action)action!)(), action);

    private void Run(SendOrPostCallback callback, object? state)
    {
        var outer = Current;
        SetSynchronizationContext(this);
        try
        {
            callback(state);
        }
        finally
        {
            SetSynchronizationContext(outer);
        }
    }

    /// <summary>Leaves the process for the outside world: nothing that completes there runs inline.</summary>
    public static void Outside(Action action)
    {
        var outer = Current;
        SetSynchronizationContext(null);
        try
        {
            action();
        }
        finally
        {
            SetSynchronizationContext(outer);
        }
    }

    /// <summary>The process is dead: nothing in it runs any more.</summary>
    public void End()
    {
        _ended = true;
        _ready.Clear();
    }
}
