using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;

namespace Cache.Producer.Simulator;

/// <summary>
/// The rows of <c>--file</c>. A file that can be read twice is checked before anything is sent; of others, such as standard input, a
/// line is checked when it arrives.
/// </summary>
internal sealed class FileRows(SimulatorOptions options, TimeProvider time)
{
    // More than Kafka takes, unless it is told to.
    private const int MaxLineBytes = 64 * 1024 * 1024;
    private const int MaxErrors = 10;
    private const long Second = 1000;
    private const long Minute = 60 * Second;
    private const long Day = 24 * 60 * Minute;

    private readonly string _path = options.File!;
    private readonly FileLines _lines = new(options);
    private Stream? _once;

    /// <summary>What the check found; null if the file cannot be read twice.</summary>
    public FileSummary? Summary { get; private set; }

    /// <summary>Whether a line said that the file does not have all dead letters.</summary>
    public bool IsIncomplete => _lines.IsIncomplete;

    /// <summary>The name to print.</summary>
    public string Name => _path == SimulatorOptions.StandardInput ? "standard input" : _path;

    /// <summary>Checks all lines that would be sent, if the file can be read twice.</summary>
    /// <exception cref="BadFileException">It cannot be read, or not be sent; or it has to be read twice, and cannot be.</exception>
    public async Task CheckAsync(CancellationToken cancellationToken)
    {
        var stream = Open();
        if (!stream.CanSeek)
        {
            _once = stream;
            if (options.Shift || options.Loop)
            {
                throw new BadFileException([$"it can be read only once, and --{(options.Shift ? "shift" : "loop")} reads it again: write it to a file first"]);
            }

            return;
        }

        await using (stream)
        {
            Summary = await SummarizeAsync(stream, cancellationToken);
        }
    }

    /// <summary>The rows, in the order of the file; without end with <c>--loop</c>, unless there are none.</summary>
    /// <exception cref="BadLineException">A line cannot be sent.</exception>
    /// <exception cref="BadFileException">It cannot be read.</exception>
    public async IAsyncEnumerable<Outgoing> ReadAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        var left = Left;
        do
        {
            var shift = options.Shift && Summary is { Rows: > 0 } summary ? ShiftTo(time.GetUtcNow().ToUnixTimeMilliseconds(), summary) : 0;
            await using var stream = _once ?? Open();
            await foreach (var (line, number) in LinesAsync(stream, cancellationToken))
            {
                if (left == 0)
                {
                    yield break;
                }

                if (_lines.Read(line, number) is { } row)
                {
                    left--;
                    yield return shift == 0 ? row : Shifted(row, shift, number);
                }
            }
        }
        while (options.Loop && left > 0 && Summary is { Rows: > 0 });
    }

    /// <summary>
    /// By how much rows are moved: so far that the newest window is the one of now. A multiple of the longest window, so that windows
    /// still begin where windows begin.
    /// </summary>
    /// <param name="now">Milliseconds since 1970 UTC.</param>
    /// <param name="summary">The rows.</param>
    internal static long ShiftTo(long now, FileSummary summary)
    {
        var length = summary.Longest == 0 ? Minute : Math.Min(Day, (summary.Longest + Second - 1) / Second * Second);
        return (long)Math.Floor((now - summary.Newest) / (decimal)length) * length;
    }

    private long Left => options.Count == 0 ? long.MaxValue : options.Count;

    private async Task<FileSummary> SummarizeAsync(Stream stream, CancellationToken cancellationToken)
    {
        var summary = new FileSummary();
        var errors = new List<string>();
        var bad = 0L;
        await foreach (var (line, number) in LinesAsync(stream, cancellationToken))
        {
            if (summary.Rows == Left)
            {
                break;
            }

            try
            {
                if (_lines.Read(line, number) is { } row)
                {
                    summary.Add(row, options.Shift, number);
                }
            }
            catch (BadLineException exception)
            {
                bad++;
                if (errors.Count < MaxErrors)
                {
                    errors.Add(exception.Message);
                }
            }
        }

        if (bad > errors.Count)
        {
            errors.Add(FormattableString.Invariant($"and {bad - errors.Count:N0} more lines"));
        }

        return errors.Count == 0 ? summary : throw new BadFileException(errors);
    }

    private static Outgoing Shifted(Outgoing row, long shift, long number)
    {
        try
        {
            return row with { Value = row.Times!.Shift(row.Value, shift) };
        }
        catch (ArgumentOutOfRangeException)
        {
            throw new BadLineException(number, "its times cannot be moved so far");
        }
    }

    private Stream Open()
    {
        try
        {
            return _path == SimulatorOptions.StandardInput ? Console.OpenStandardInput() : new FileStream(_path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 1);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new BadFileException([exception.Message]);
        }
    }

    private static async IAsyncEnumerable<(ReadOnlyMemory<byte> Line, long Number)> LinesAsync(Stream stream, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var reader = PipeReader.Create(stream, new(bufferSize: 64 * 1024, leaveOpen: true));
        var number = 0L;
        while (true)
        {
            var result = await ReadAsync(reader, cancellationToken);
            var rest = result.Buffer;
            while (rest.PositionOf((byte)'\n') is { } end)
            {
                yield return (Line(rest.Slice(0, end), ++number), number);
                rest = rest.Slice(rest.GetPosition(1, end));
            }

            if (rest.Length > MaxLineBytes)
            {
                throw new BadLineException(number + 1, FormattableString.Invariant($"longer than {MaxLineBytes / 1024 / 1024} MB"));
            }

            if (result.IsCompleted)
            {
                if (!rest.IsEmpty)
                {
                    yield return (Line(rest, ++number), number);
                }

                yield break;
            }

            reader.AdvanceTo(rest.Start, rest.End);
        }
    }

    private static async Task<ReadResult> ReadAsync(PipeReader reader, CancellationToken cancellationToken)
    {
        try
        {
            // A read of standard input cannot be cancelled, only left alone.
            return await reader.ReadAsync(CancellationToken.None).AsTask().WaitAsync(cancellationToken);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new BadFileException([exception.Message]);
        }
    }

    /// <summary>A line without what editors add: a byte order mark before the first one, a carriage return after each.</summary>
    private static ReadOnlyMemory<byte> Line(ReadOnlySequence<byte> bytes, long number)
    {
        ReadOnlyMemory<byte> line = bytes.ToArray();
        line = number == 1 && line.Span.StartsWith("\ufeff"u8) ? line[3..] : line;
        return line.Span is [.., (byte)'\r'] ? line[..^1] : line;
    }
}

/// <summary>What is in a file.</summary>
internal sealed class FileSummary
{
    private readonly List<string> _topics = [];

    /// <summary>How many rows.</summary>
    public long Rows { get; private set; }

    /// <summary>Their topics.</summary>
    public IReadOnlyList<string> Topics => _topics;

    /// <summary>The newest start of a window or end of a session, in milliseconds since 1970 UTC.</summary>
    public long Newest { get; private set; } = long.MinValue;

    /// <summary>The length of the longest window, in milliseconds; 0 if none is known.</summary>
    public long Longest { get; private set; }

    /// <summary>Adds a row.</summary>
    /// <param name="row">The row.</param>
    /// <param name="isShifted">Whether its times are going to be moved.</param>
    /// <param name="line">The number of its line.</param>
    /// <exception cref="BadLineException">Its times cannot be moved.</exception>
    public void Add(Outgoing row, bool isShifted, long line)
    {
        if (isShifted)
        {
            if (row.Times is not { } times)
            {
                throw new BadLineException(line, $"no metric type has the topic {row.Topic}, so --shift does not know where its times are");
            }

            if (!times.TryRead(row.Value, out var newest, out var length))
            {
                throw new BadLineException(line, "a time that --shift would move is missing, or is none");
            }

            Newest = Math.Max(Newest, newest);
            Longest = Math.Max(Longest, length);
        }

        Rows++;
        if (!_topics.Contains(row.Topic))
        {
            _topics.Add(row.Topic);
        }
    }
}

/// <summary>A file cannot be sent.</summary>
internal sealed class BadFileException(IReadOnlyList<string> errors) : Exception(string.Join("; ", errors));
