namespace Cache.Tests.Simulation;

/// <summary>
/// Stands for the thread pool of one process: what is ready to run waits until the schedule runs it, in an order that the
/// schedule chooses. Everything of a schedule happens on one thread; a continuation that comes from another would make the
/// schedule depend on the machine, and fails it.
/// </summary>
internal sealed class SimulatedThreads : SynchronizationContext
{
    private readonly List<(SendOrPostCallback Callback, object? State)> _ready = [];
    private readonly int _thread = Environment.CurrentManagedThreadId;
    private bool _ended;

    /// <summary>How many continuations are ready to run.</summary>
    public int Ready => _ready.Count;

    /// <summary>What left the schedule's thread; null as long as nothing did.</summary>
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

    /// <summary>Runs one of what is ready.</summary>
    public void RunOne(int index)
    {
        var (callback, state) = _ready[index];
        _ready.RemoveAt(index);
        Run(callback, state);
    }

    /// <summary>Runs something as a thread of this process.</summary>
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

    /// <summary>Steps out of the process, into the world: nothing that completes there runs inline.</summary>
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

    /// <summary>The process is dead: nothing of it runs any more.</summary>
    public void End()
    {
        _ended = true;
        _ready.Clear();
    }
}
