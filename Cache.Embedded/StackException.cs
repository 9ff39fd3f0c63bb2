namespace Cache.Embedded;

/// <summary>The stack cannot start, for a reason that the user can fix; the message is complete, and needs no stack trace.</summary>
public sealed class StackException : Exception
{
    /// <summary>Creates the exception without a message of its own.</summary>
    public StackException()
    {
    }

    /// <summary>Creates the exception.</summary>
    /// <param name="message">What is wrong, and how to fix it.</param>
    public StackException(string message)
        : base(message)
    {
    }

    /// <summary>Creates the exception with its cause.</summary>
    /// <param name="message">What is wrong, and how to fix it.</param>
    /// <param name="innerException">The cause.</param>
    public StackException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }
}
