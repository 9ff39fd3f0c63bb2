using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Options;

namespace Cache.Service.Http.Query;

/// <summary>Answers window queries, from the response cache or from Redis.</summary>
internal sealed class WindowAnswers
{
    /// <summary>A list with more fields is sent while it is read. This is about 1 MB, above which the response cache keeps no answer either.</summary>
    public const int MaxFieldsHeld = 40_000;

    // Once the status is sent, an error can no longer be reported, and a longer wait is better than cutting the client off.
    private static readonly TimeSpan PartTimeout = TimeSpan.FromSeconds(5);

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

    /// <summary>Answers a query; with <c>Cache-Control: no-cache</c>, from Redis.</summary>
    public Task SendAsync(HttpContext context, WindowQuery query) => ApiAnswers.SendAsync(context, GetAsync(query, context.Request), _large);

    /// <summary>Gets the answer to a query.</summary>
    /// <exception cref="StackExchange.Redis.RedisException">Redis did not answer.</exception>
    public Task<Answer> GetAsync(WindowQuery query, HttpRequest request)
    {
        // All limits beyond retention are the same query.
        query = query with { Limit = query.Limit is { } limit ? Math.Min(limit, _options.WindowRetentionCount) : null };
        var control = request.Headers.CacheControl;
        return control.Count > 0 && control.ToString().Contains("no-cache", StringComparison.OrdinalIgnoreCase)
            ? ReadAsync(query)
            : _kept.GetAsync(query, _read);
    }

    private async Task<Answer> ReadAsync(WindowQuery query)
    {
        using var deadline = ApiAnswers.Deadline();
        var filter = DimensionFilter.Of(query.Fields);
        IReadOnlyList<MetricType> types = query.Type is { } only ? [only] : _options.MetricTypes;
        var found = await Task.WhenAll(types.Select(type => _reader.FindAsync(type, query.Limit ?? 1, query.From, query.To, deadline.Token)));
        var fields = found.Sum(windows => windows.Sum(window => window.Fields));

        if (query.Summary is { } summary)
        {
            return await SummaryAsync(query, summary, found[0], deadline);
        }

        // A single window is read, and therefore held, in one piece.
        if (query.Limit > 1 && (fields > MaxFieldsHeld || found[0].Count == WindowReader.MaxFound))
        {
            return new StreamedAnswer(query.Csv ? WindowsCsv.ContentType : Answer.JsonType, context => PiecesAsync(query, context));
        }

        using var room = _large.Take(fields * LargeReads.BytesPerField);
        var read = new List<Window>[types.Count];
        foreach (var (at, type) in types.Index())
        {
            read[at] = [];
            foreach (var part in WindowReader.Parts(found[at]))
            {
                read[at].AddRange(await InTimeAsync(_reader.ReadAsync(type, part, deadline.Token)));
            }
        }

        return query switch
        {
            { Type: null } => Answer.Json(json =>
            {
                json.WriteStartObject();
                foreach (var (type, windows) in types.Zip(read))
                {
                    json.WritePropertyName($"{type.Name}_latest");
                    WriteLatest(json, windows, filter);
                }

                json.WriteEndObject();
            }),
            { Limit: null } => Answer.Json(json => WriteLatest(json, read[0], filter)),
            _ => Answer.Of(query.Csv ? WindowsCsv.ContentType : Answer.JsonType, body =>
            {
                using var list = new ListWriter(body, query, filter);
                list.Begin();
                read[0].ForEach(list.Write);
                list.End();
            }),
        };
    }

    /// <summary>Rolls up windows part by part; only what becomes of them is held.</summary>
    private async Task<Answer> SummaryAsync(WindowQuery query, SummaryQuery asked, List<FoundWindow> found, CancellationTokenSource deadline)
    {
        var type = query.Type!;
        var summary = new Summary(type, asked, DimensionFilter.Of(query.Fields));
        var (rest, fields) = (query.Limit!.Value, found.Sum(window => window.Fields));

        // Without a series, windows mostly have the same dimensions.
        using var room = _large.Take((asked.StepMs is null ? Math.Min(fields, 4 * WindowReader.MaxFields) : fields) * LargeReads.BytesPerField);
        while (found.Count > 0)
        {
            foreach (var part in WindowReader.Parts(found))
            {
                (await InTimeAsync(ReadPartAsync(part))).ForEach(summary.Add);
                deadline.CancelAfter(PartTimeout);
            }

            rest -= found.Count;
            found = found.Count < WindowReader.MaxFound ? [] : await _reader.FindAsync(type, rest, query.From, found[^1].Start - 1, deadline.Token);
        }

        return Answer.Json(summary.Write);

        async Task<List<Window>> ReadPartAsync(List<FoundWindow> part)
        {
            using var turn = await _large.TurnAsync(deadline.Token);
            return await _reader.ReadAsync(type, part, deadline.Token);
        }
    }

    /// <summary>Streams a list of windows: one piece per part that is read from Redis.</summary>
    private async IAsyncEnumerable<ReadOnlyMemory<byte>> PiecesAsync(
        WindowQuery query, HttpContext context, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        using var timeout = ApiAnswers.Deadline(cancellationToken);
        var (type, rest, to) = (query.Type!, query.Limit!.Value, query.To);
        var found = await _reader.FindAsync(type, rest, query.From, to, timeout.Token);
        var body = new ArrayBufferWriter<byte>(LargeReads.MinBytes);
        using var list = new ListWriter(body, query, DimensionFilter.Of(query.Fields));
        list.Begin();

        // Turns bound what is being read, so the room is for the text of one part, which many requests may hold at once. Assume
        // that no hash has many more fields than the largest of the newest.
        var maxFields = found.Select(window => window.Fields).Append(WindowReader.MaxFields).Max();
        using var room = _large.Take(maxFields * LargeReads.BytesPerFieldSent, context);
        while (found.Count > 0)
        {
            foreach (var part in WindowReader.Parts(found))
            {
                await InTimeAsync(WriteAsync(part));
                timeout.CancelAfter(Timeout.InfiniteTimeSpan);
                yield return body.WrittenMemory;
                timeout.CancelAfter(PartTimeout);
                body.ResetWrittenCount();
            }

            (rest, to) = (rest - found.Count, found[^1].Start - 1);
            found = found.Count < WindowReader.MaxFound ? [] : await _reader.FindAsync(type, rest, query.From, to, timeout.Token);
        }

        list.End();
        yield return body.WrittenMemory;

        async Task<int> WriteAsync(List<FoundWindow> part)
        {
            using var turn = await _large.TurnAsync(timeout.Token);
            var windows = await _reader.ReadAsync(type, part, timeout.Token);
            windows.ForEach(list.Write);
            list.Flush();
            return windows.Count;
        }
    }

    /// <summary>Reports a timeout as slow: Redis has already returned the index, so it does answer.</summary>
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
            if (filter is null || filter.Selects(((ReadOnlyMemory<byte>)field.Name).Span))
            {
                FieldValue.Write(json, field);
            }
        }

        json.WriteEndObject();
    }

    /// <summary>Writes a list of windows, as JSON or CSV.</summary>
    private sealed class ListWriter(IBufferWriter<byte> body, WindowQuery query, DimensionFilter? filter) : IDisposable
    {
        private readonly Utf8JsonWriter? _json = query.Csv ? null : new(body);

        public void Begin()
        {
            if (_json is null)
            {
                WindowsCsv.WriteHeader(body, query.Type!);
                return;
            }

            _json.WriteStartObject();
            _json.WriteStartArray("windows"u8);
        }

        public void Write(Window window)
        {
            if (_json is null)
            {
                WindowsCsv.Write(body, query.Type!, window, filter);
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

        /// <summary>Flushes what was written into the body.</summary>
        public void Flush() => _json?.Flush();

        public void Dispose() => _json?.Dispose();
    }
}
