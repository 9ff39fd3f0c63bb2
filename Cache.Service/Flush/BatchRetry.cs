using System.Diagnostics;
using System.Globalization;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Service.Telemetry;
using Polly;
using Polly.Retry;

namespace Cache.Service.Flush;

/// <summary>
/// Retries an operation on a batch for as long as its failures are retryable (<see cref="Failures"/>). One operation at a time, so
/// that order is kept. Logs every 30 s what it is waiting for, and reports it to readiness.
/// </summary>
internal sealed partial class BatchRetry
{
    /// <summary>After this long without progress, the service is not ready.</summary>
    public static readonly TimeSpan MaxWithoutProgress = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan LogInterval = TimeSpan.FromSeconds(30);

    private readonly FlushMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger<FlushWorker> _logger;
    private readonly ResiliencePipeline _pipeline;
    private volatile Attempt? _current;

    public BatchRetry(FlushMetrics metrics, TimeProvider time, Random random, ILogger<FlushWorker> logger)
    {
        (_metrics, _time, _logger) = (metrics, time, logger);
        _pipeline = new ResiliencePipelineBuilder { TimeProvider = time }
            .AddRetry(new RetryStrategyOptions
            {
                MaxRetryAttempts = int.MaxValue,
                BackoffType = DelayBackoffType.Exponential,
                Delay = TimeSpan.FromMilliseconds(50),
                MaxDelay = TimeSpan.FromSeconds(2),
                UseJitter = true,
                Randomizer = random.NextDouble,
                ShouldHandle = attempt => new(attempt.Outcome.Exception is { } exception && Failures.IsRetryable(exception)),
            })
            .Build();
    }

    /// <summary>What keeps a batch from being written, if that makes the service not ready; otherwise null.</summary>
    public string? Obstacle
    {
        get
        {
            if (_current is not { } attempt)
            {
                return null;
            }

            var (waited, trouble) = (_time.GetElapsedTime(attempt.Since), attempt.Trouble);
            return waited < MaxWithoutProgress && trouble is not { NeedsOperator: true }
                ? null
                : string.Create(CultureInfo.InvariantCulture, $"{attempt.What} has not accepted a batch for {waited.TotalSeconds:F0} s: {trouble?.Error ?? "no answer yet"}");
        }
    }

    /// <summary>Retries an action until it succeeds, or until every partition of the batch is revoked (then returns the default).</summary>
    /// <param name="what">The server or topic that it depends on, as logs name it.</param>
    /// <param name="action">One attempt.</param>
    /// <param name="batch">The batch; revoked partitions are dropped from it before each attempt.</param>
    /// <exception cref="Exception">A failure that retrying will not fix.</exception>
    public async Task<T?> RetryAsync<T>(string what, Func<Task<T>> action, Batch batch)
    {
        var attempt = new Attempt(what, _time.GetTimestamp());
        _current = attempt;
        var context = ResilienceContextPool.Shared.Get(continueOnCapturedContext: true);
        var outcome = await _pipeline.ExecuteOutcomeAsync(async (_, batch) =>
        {
            batch.DropRevoked();
            if (batch.Ranges.Count == 0)
            {
                return Outcome.FromResult<T?>(default);
            }

            try
            {
                return Outcome.FromResult<T?>(await action());
            }
            catch (Exception exception)
            {
                Note(attempt, exception);
                return Outcome.FromException<T?>(exception);
            }
        }, context, batch);
        ResilienceContextPool.Shared.Return(context);
        _current = null;
        outcome.ThrowIfException();
        if (attempt.Failures > 0 && batch.Ranges.Count > 0)
        {
            LogRecovered(what, attempt.Failures);
        }

        return outcome.Result;
    }

    private void Note(Attempt attempt, Exception exception)
    {
        _metrics.BatchFailed();
        var kind = Failures.KindOf(exception);
        attempt.Trouble = new(RedisErrors.Text(exception), kind is FailureKind.Refused or FailureKind.Unknown);
        if (kind is FailureKind.OfTheRow or FailureKind.Defect)
        {
            // Not retried: the caller logs it, with its stack.
            return;
        }

        var now = _time.GetTimestamp();
        if (attempt.Failures++ == 0)
        {
            Log(attempt, exception, kind);
            Activity.Current?.AddException(exception);
        }
        else if (kind != attempt.Kind)
        {
            Log(attempt, exception, kind);
        }
        else if (_time.GetElapsedTime(attempt.LoggedAt, now) >= LogInterval)
        {
            LogStillRetrying(attempt.What, _time.GetElapsedTime(attempt.Since, now).TotalSeconds, attempt.Failures, RedisErrors.Text(exception));
        }
        else
        {
            return;
        }

        (attempt.LoggedAt, attempt.Kind) = (now, kind);
    }

    private void Log(Attempt attempt, Exception exception, FailureKind kind)
    {
        var what = exception is MembershipException ? "The consumer group" : attempt.What;
        switch (kind)
        {
            case FailureKind.Refused:
                LogRefused(what, RedisErrors.Text(exception));
                break;
            case FailureKind.Unknown:
                LogUnknown(what, RedisErrors.Text(exception));
                break;
            default:
                LogRetrying(what, RedisErrors.Text(exception));
                break;
        }
    }

    [LoggerMessage(EventIds.Flush + 1, LogLevel.Warning, "{What} did not accept a batch: {Error}; retrying. Nothing is committed until it does.")]
    private partial void LogRetrying(string what, string error);

    [LoggerMessage(EventIds.Flush + 2, LogLevel.Information, "{What} accepted the batch after {Failures} failures.")]
    private partial void LogRecovered(string what, int failures);

    [LoggerMessage(EventIds.Flush + 9, LogLevel.Warning,
        "{What} has not accepted a batch for {Seconds:F0} s ({Failures} attempts): {Error}; retrying. Nothing is written or committed until it does.")]
    private partial void LogStillRetrying(string what, double seconds, int failures, string error);

    [LoggerMessage(EventIds.Flush + 10, LogLevel.Error,
        "{What} refuses a batch: {Error}; retrying. Grant the permission, or fix what the error names; until then, nothing is committed and the service is not ready.")]
    private partial void LogRefused(string what, string error);

    [LoggerMessage(EventIds.Flush + 11, LogLevel.Error,
        "{What} did not accept a batch because of an unknown error: {Error}; retrying. Until it does, nothing is committed and the service is not ready.")]
    private partial void LogUnknown(string what, string error);

    /// <summary>The operation in progress.</summary>
    private sealed class Attempt(string what, long since)
    {
        private Trouble? _trouble;

        public string What { get; } = what;

        public long Since { get; } = since;

        public int Failures { get; set; }

        public FailureKind Kind { get; set; }

        public long LoggedAt { get; set; }

        /// <summary>The last failure; null before the first.</summary>
        public Trouble? Trouble
        {
            get => Volatile.Read(ref _trouble);
            set => Volatile.Write(ref _trouble, value);
        }
    }

    /// <summary>A failure, as readiness reports it.</summary>
    private sealed record Trouble(string Error, bool NeedsOperator);
}
