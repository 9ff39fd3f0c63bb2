using System.Text;

namespace Cache.Embedded;

/// <summary>The stack's addresses, and commands to try, as plain text.</summary>
internal static class StackTable
{
    public static string Render(EmbeddedStack stack, bool simulator)
    {
        var service = stack.ServiceUri.GetLeftPart(UriPartial.Authority);
        var kcat = $"kcat -b {stack.Kafka.BootstrapServers}";
        var redis = $"redis-cli -p {stack.Redis.Port}";
        return Lines(
        [
            ("Service", service),
            ("Kafka", stack.Kafka.BootstrapServers),
            ("Redis", $"127.0.0.1:{stack.Redis.Port}"),
            ("Simulator", simulator ? "writes to " + string.Join(", ", stack.Topics) : "off (--no-simulator)"),
            ("", ""),
            ("Is it ready", $"{service}/readyz"),
            ("Newest windows", $"{service}/metrics/overview"),
            ("Newest of events", $"{service}/metrics/event/latest"),
            ("Last five", $"{service}/metrics/event/windows?limit=5"),
            ("Is it healthy", $"{service}/healthz"),
            ("For Prometheus", $"{service}/metrics"),
            ("", ""),
            ("Topics", $"{kcat} -L"),
            ("Rows as they come", $"{kcat} -C -u -o end -t event_metrics"),
            ("Window index", $"{redis} ZREVRANGE metrics:event:windows 0 4"),
            ("One window", $"{redis} HGETALL metrics:event:$({redis} ZREVRANGE metrics:event:windows 0 0)"),
            ("Updates", $"{redis} SUBSCRIBE cache:updates"),
        ]);
    }

    private static string Lines((string Name, string Value)[] rows)
    {
        var width = rows.Max(row => row.Name.Length);
        var text = new StringBuilder();
        foreach (var (name, value) in rows)
        {
            text.AppendLine($"  {name.PadRight(width)}  {value}".TrimEnd());
        }

        return text.ToString();
    }
}
