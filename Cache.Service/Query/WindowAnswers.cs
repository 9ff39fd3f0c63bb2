using System.Text.Json;
using Cache.Service.Decode;

namespace Cache.Service.Query;

/// <summary>Answers questions about windows: with what is kept, or from Redis.</summary>
internal sealed class WindowAnswers
{
    private readonly WindowReader _reader;
    private readonly KeptAnswers _kept;
    private readonly CacheOptions _options;
    private readonly Func<Question, Task<Answer>> _read;

    public WindowAnswers(WindowReader reader, KeptAnswers kept, CacheOptions options)
    {
        (_reader, _kept, _options) = (reader, kept, options);
        _read = ReadAsync;
    }

    /// <summary>The answer to a question.</summary>
    /// <param name="question">What is asked.</param>
    /// <param name="request">May say <c>Cache-Control: no-cache</c>: then it is read now.</param>
    /// <exception cref="StackExchange.Redis.RedisException">Redis did not answer.</exception>
    public Task<Answer> GetAsync(Question question, HttpRequest request)
    {
        // However far it is beyond retention, it is the same question.
        question = question with { Limit = question.Limit is { } limit ? Math.Min(limit, _options.WindowRetentionCount) : null };
        var control = request.Headers.CacheControl;
        return control.Count > 0 && control.ToString().Contains("no-cache", StringComparison.OrdinalIgnoreCase)
            ? ReadAsync(question)
            : _kept.GetAsync(question, _read);
    }

    private async Task<Answer> ReadAsync(Question question)
    {
        using var deadline = ApiAnswers.Deadline();
        var filter = DimensionFilter.Of(question.Fields);
        if (question.Kind is not { } kind)
        {
            var events = ReadAsync(RowKind.Event);
            var performance = ReadAsync(RowKind.Performance);
            await Task.WhenAll(events, performance);
            return Answer.Json(json =>
            {
                json.WriteStartObject();
                json.WritePropertyName("event_latest"u8);
                WriteLatest(json, events.Result, filter);
                json.WritePropertyName("performance_latest"u8);
                WriteLatest(json, performance.Result, filter);
                json.WriteEndObject();
            });
        }

        var windows = await ReadAsync(kind);
        return question switch
        {
            { Limit: null } => Answer.Json(json => WriteLatest(json, windows, filter)),
            { Csv: true } => Answer.Of(WindowsCsv.ContentType, body => WindowsCsv.Write(body, kind, windows, filter)),
            _ => Answer.Json(json =>
            {
                json.WriteStartObject();
                json.WriteStartArray("windows"u8);
                windows.ForEach(window => WriteWindow(json, window, filter));
                json.WriteEndArray();
                json.WriteEndObject();
            }),
        };

        Task<List<Window>> ReadAsync(RowKind kind) => _reader.ReadAsync(kind, question.Limit ?? 1, question.From, question.To, deadline.Token);
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
}
