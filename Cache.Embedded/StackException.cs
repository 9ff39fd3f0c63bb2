namespace Cache.Embedded;

/// <summary>The stack cannot start, for a reason that its user can mend; the message is all there is to say.</summary>
public sealed class StackException : Exception
{
    /// <summary>Nothing to say.</summary>
    public StackException()
    {
    }

    /// <summary>What is wrong and what to do.</summary>
    public StackException(string message)
        : base(message)
    {
    }

    /// <summary>What is wrong and what to do, and where it comes from.</summary>
    public StackException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }
}
