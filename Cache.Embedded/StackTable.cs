using System.Text;

namespace Cache.Embedded;

/// <summary>The stack's addresses, and commands to try.</summary>
internal static class StackTable
{
    private const string Bold = "\e[1;36m";
    private const string Dim = "\e[2m";
    private const string Reset = "\e[0m";

    /// <summary>Renders the table, the live page first.</summary>
    /// <param name="stack">The stack.</param>
    /// <param name="simulator">Whether the simulator runs.</param>
    /// <param name="colors">Whether the terminal has colours.</param>
    public static string Render(EmbeddedStack stack, bool simulator, bool colors)
    {
        var service = stack.ServiceUri.GetLeftPart(UriPartial.Authority);
        var kcat = $"kcat -b {stack.Kafka.BootstrapServers}";
        var redis = $"redis-cli -p {stack.Redis.Port}";
        return Lines(
        [
            ("Live page", $"{service}/"),
            ("API", $"{service}/scalar"),
            ("", ""),
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
        ], colors);
    }

    private static string Lines((string Name, string Value)[] rows, bool colors)
    {
        var width = rows.Max(row => row.Name.Length);
        var text = new StringBuilder();
        foreach (var (name, value) in rows)
        {
            var padded = name.PadRight(width);
            text.AppendLine((!colors || name.Length == 0 ? $"  {padded}  {value}" : name == rows[0].Name ? $"  {Bold}{padded}  {value}{Reset}" : $"  {Dim}{padded}{Reset}  {value}").TrimEnd());
        }

        return text.ToString();
    }
}
