using System.Diagnostics;
using Cache.Service.Flush;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;

namespace Cache.Tests.Flush;

public sealed class FlushSpanTests
{
    [Fact]
    public void Span_IsATraceOfItsOwn_LinkedToItsRows_AndSaysWhatTheBatchHolds()
    {
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == Tracing.SourceName,
            Sample = (ref _) => ActivitySamplingResult.AllData,
        };
        ActivitySource.AddActivityListener(listener);
        using var receipt = Tracing.Source.StartActivity("receive", ActivityKind.Consumer)!;
        var (first, second) = (TestRows.Partition(0), TestRows.Partition(1));
        var batch = new Batch();
        batch.Add(TestRows.Event(1, "a", count: 1).At(first, 0) with { Receipt = receipt }, 0);
        batch.Add(TestRows.Event(1, "b", count: 2).At(first, 1), 0);
        batch.Add(TestRows.Event(1, "b", users: 3).At(first, 2), 0);
        batch.Add(TestRows.Event(2, "a", count: 4).At(first, 3), 0);
        batch.Add(TestRows.Session("s", 5).At(second, 0), 0);
        batch.Add(TestRows.Rejected().At(second, 1), 0);
        batch.Add(TestRows.Rejected().At(second, 2), 0);
        batch.Add(TestRows.Rejected().At(second, 3), 0);
        batch.Add(TestRows.Rejected().At(second, 4), 0);

        using var span = FlushSpan.Start(batch);

        Assert.NotNull(span);
        Assert.Equal(("flush", ActivityKind.Consumer, null, default), (span.OperationName, span.Kind, span.Parent, span.ParentSpanId));
        Assert.NotEqual(receipt.TraceId, span.TraceId);
        Assert.Equal([receipt.Context], span.Links.Select(link => link.Context));
        Assert.Equal(
            [
                ("messaging.system", "kafka"), ("messaging.operation.type", "process"), ("messaging.operation.name", "flush"), ("messaging.batch.message_count", 9),
                ("db.system.name", "redis"), ("cache.batch.windows", 2), ("cache.batch.fields", 3), ("cache.batch.sessions", 1), ("cache.batch.partitions", 2),
                ("cache.batch.rejected", 4),
            ],
            span.TagObjects.Select(tag => (tag.Key, tag.Value!)));
    }
}
