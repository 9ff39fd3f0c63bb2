namespace Cache.Embedded;

/// <summary>A third metric type, to show what a type of one's own looks like: revenue by country and plan.</summary>
public static class RevenueType
{
    /// <summary>The name of the type.</summary>
    public const string Name = "revenue";

    /// <summary>The topic of its rows.</summary>
    public const string Topic = "shop.revenue";

    /// <summary>The value of <c>metric_types</c>, for the service and the simulator; its windows are as long as the simulator's other ones.</summary>
    public const string MetricTypes = $$"""
        [{"name":"{{Name}}","topics":["{{Topic}}"],"dimension":["country","plan"],"window_seconds":5,"measures":[{"name":"total","kind":"number","unit":"EUR","rollup":"sum"},{"name":"orders","kind":"count"}]}]
        """;

    /// <summary>The value of the simulator's <c>types</c>: all three.</summary>
    public const string SimulatorTypes = $"event,performance,{Name}";
}
