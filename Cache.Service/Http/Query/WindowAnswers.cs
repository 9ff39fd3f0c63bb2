using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Cache.Service.Model;
using Cache.Service.Options;

namespace Cache.Service.Http.Query;

/// <summary>Answers questions about windows: with what is kept, or from Redis.</summary>
internal sealed class WindowAnswers
{
    /// <summary>A list of more fields is sent while it is read: some megabyte, beyond which no answer is kept either.</summary>
    public const int MaxFieldsHeld = 40_000;

    // Once the status is sent there is nothing left to tell a caller, who then waits rather than being cut off.
    private static readonly TimeSpan TimeoutOnceSent = TimeSpan.FromSeconds(5);

    private readonly WindowReader _reader;
    private readonly ResponseCache _kept;
    private readonly LargeReads _large;
    private readonly CacheOptions _options;
    private readonly Func<WindowQuery, Task<Answer>> _read;

    public WindowAnswers(WindowReader reader, ResponseCache kept, LargeReads large, CacheOptions options)
    {
        (_reader, _kept, _large, _options) = (reader, kept, large, options);
        _read = ReadAsync;
    }

    /// <summary>The answer to a question.</summary>
    /// <param name="question">What is asked.</param>
    /// <param name="request">May say <c>Cache-Control: no-cache</c>: then it is read now.</param>
    /// <exception cref="StackExchange.Redis.RedisException">Redis did not answer.</exception>
    public Task<Answer> GetAsync(WindowQuery question, HttpRequest request)
    {
        // However far it is beyond retention, it is the same question.
        question = question with { Limit = question.Limit is { } limit ? Math.Min(limit, _options.WindowRetentionCount) : null };
        var control = request.Headers.CacheControl;
        return control.Count > 0 && control.ToString().Contains("no-cache", StringComparison.OrdinalIgnoreCase)
            ? ReadAsync(question)
            : _kept.GetAsync(question, _read);
    }

    private async Task<Answer> ReadAsync(WindowQuery question)
    {
        using var deadline = ApiAnswers.Deadline();
        var filter = DimensionFilter.Of(question.Fields);
        RowKind[] kinds = question.Kind is { } only ? [only] : [RowKind.Event, RowKind.Performance];
        var found = await Task.WhenAll(kinds.Select(kind => _reader.FindAsync(kind, question.Limit ?? 1, question.From, question.To, deadline.Token)));
        var fields = found.Sum(windows => windows.Sum(window => window.Fields));

        // A window alone is read in one piece, and so held in one.
        if (question.Limit > 1 && (fields > MaxFieldsHeld || found[0].Count == WindowReader.MaxFound))
        {
            return new StreamedAnswer(question.Csv ? WindowsCsv.ContentType : Answer.JsonType, context => PiecesAsync(question, context));
        }

        using var room = _large.Take(fields * LargeReads.BytesPerField);
        var read = new List<Window>[kinds.Length];
        foreach (var (at, kind) in kinds.Index())
        {
            read[at] = [];
            foreach (var part in WindowReader.Parts(found[at]))
            {
                read[at].AddRange(await InTimeAsync(_reader.ReadAsync(kind, part, deadline.Token)));
            }
        }

        return question switch
        {
            { Kind: null } => Answer.Json(json =>
            {
                json.WriteStartObject();
                json.WritePropertyName("event_latest"u8);
                WriteLatest(json, read[0], filter);
                json.WritePropertyName("performance_latest"u8);
                WriteLatest(json, read[1], filter);
                json.WriteEndObject();
            }),
            { Limit: null } => Answer.Json(json => WriteLatest(json, read[0], filter)),
            _ => Answer.Of(question.Csv ? WindowsCsv.ContentType : Answer.JsonType, body =>
            {
                using var list = new ListWriter(body, question, filter);
                list.Begin();
                read[0].ForEach(list.Write);
                list.End();
            }),
        };
    }

    /// <summary>A list of windows as it is read: each piece is what is read at once.</summary>
    private async IAsyncEnumerable<ReadOnlyMemory<byte>> PiecesAsync(
        WindowQuery question, HttpContext context, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        using var timeout = ApiAnswers.Deadline(cancellationToken);
        var (kind, rest, to) = (question.Kind!.Value, question.Limit!.Value, question.To);
        var found = await _reader.FindAsync(kind, rest, question.From, to, timeout.Token);
        var body = new ArrayBufferWriter<byte>(LargeReads.MinBytes);
        using var list = new ListWriter(body, question, DimensionFilter.Of(question.Fields));
        list.Begin();

        // What is read has its turn, so that it is the text of a part that many may hold. No hash has many more fields than the
        // largest of the newest.
        var mostFields = found.Select(window => window.Fields).Append(WindowReader.MaxFields).Max();
        using var room = _large.Take(mostFields * LargeReads.BytesPerFieldSent, context);
        while (found.Count > 0)
        {
            foreach (var part in WindowReader.Parts(found))
            {
                await InTimeAsync(WriteAsync(part));
                timeout.CancelAfter(Timeout.InfiniteTimeSpan);
                yield return body.WrittenMemory;
                timeout.CancelAfter(TimeoutOnceSent);
                body.ResetWrittenCount();
            }

            (rest, to) = (rest - found.Count, found[^1].Start - 1);
            found = found.Count < WindowReader.MaxFound ? [] : await _reader.FindAsync(kind, rest, question.From, to, timeout.Token);
        }

        list.End();
        yield return body.WrittenMemory;

        async Task<int> WriteAsync(List<FoundWindow> part)
        {
            using var turn = await _large.TurnAsync(timeout.Token);
            var windows = await _reader.ReadAsync(kind, part, timeout.Token);
            windows.ForEach(list.Write);
            list.Flush();
            return windows.Count;
        }
    }

    /// <summary>Redis has told what there is: so it answers, and what does not come in time is slow.</summary>
    private static async Task<T> InTimeAsync<T>(Task<T> read)
    {
        try
        {
            return await read;
        }
        catch (OperationCanceledException)
        {
            throw new SlowReadException();
        }
    }

    private static void WriteLatest(Utf8JsonWriter json, List<Window> windows, DimensionFilter? filter)
    {
        if (windows is [var window, ..])
        {
            WriteWindow(json, window, filter);
        }
        else
        {
            json.WriteStartObject();
            json.WriteEndObject();
        }
    }

    private static void WriteWindow(Utf8JsonWriter json, Window window, DimensionFilter? filter)
    {
        json.WriteStartObject();
        json.WriteNumber("window_start"u8, window.Start);
        foreach (var field in window.Fields)
        {
            if (filter is null || filter.Wants(((ReadOnlyMemory<byte>)field.Name).Span))
            {
                Measure.Write(json, field);
            }
        }

        json.WriteEndObject();
    }

    /// <summary>Writes a list of windows, as JSON or CSV.</summary>
    private sealed class ListWriter(IBufferWriter<byte> body, WindowQuery question, DimensionFilter? filter) : IDisposable
    {
        private readonly Utf8JsonWriter? _json = question.Csv ? null : new(body);

        public void Begin()
        {
            if (_json is null)
            {
                WindowsCsv.WriteHeader(body, question.Kind!.Value);
                return;
            }

            _json.WriteStartObject();
            _json.WriteStartArray("windows"u8);
        }

        public void Write(Window window)
        {
            if (_json is null)
            {
                WindowsCsv.Write(body, question.Kind!.Value, window, filter);
                return;
            }

            WriteWindow(_json, window, filter);
        }

        public void End()
        {
            _json?.WriteEndArray();
            _json?.WriteEndObject();
            Flush();
        }

        /// <summary>What was written is in the body.</summary>
        public void Flush() => _json?.Flush();

        public void Dispose() => _json?.Dispose();
    }
}
