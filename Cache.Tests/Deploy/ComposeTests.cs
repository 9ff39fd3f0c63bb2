using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Cache.Service.Http;
using Cache.Service.Options;
using YamlDotNet.RepresentationModel;

namespace Cache.Tests.Deploy;

/// <summary><c>deploy/compose</c> fits the service, and its files fit each other. No container is started.</summary>
public sealed partial class ComposeTests
{
    private static readonly string Example = DeployFiles.Text("compose", ".env.example");

    // As somebody fills them in.
    private static readonly Dictionary<string, string> Given = DeployFiles.Variables(Example)
        .ToDictionary(variable => variable.Key, variable => variable.Value.Length > 0 ? variable.Value : "0123456789abcdef");

    private static readonly YamlNode Compose = DeployFiles.Documents(DeployFiles.Text("compose", "compose.yaml")).Single();
    private static readonly YamlNode Prometheus = DeployFiles.Documents(DeployFiles.Text("compose", "prometheus.yml")).Single();
    private static readonly string Proxy = DeployFiles.Text("compose", "haproxy.cfg");

    private static IEnumerable<KeyValuePair<string, YamlNode>> Services => Compose.Entries("services");

    private static YamlNode Cache => Compose.Find("services/cache")!;

    /// <summary>Of the topics that Compose creates, how many partitions each has.</summary>
    internal static Dictionary<string, int> Topics
    {
        get
        {
            var script = Compose.At("services/topics/command/0");
            var partitions = Partitions().Matches(script).Select(match => int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture)).ToList();
            var names = Loop().Match(script).Groups[1].Value.Split(' ');
            return names.Select(name => KeyValuePair.Create(name, partitions[0])).Append(new(LastTopic().Match(script).Groups[1].Value, partitions[1])).ToDictionary();
        }
    }

    [Fact]
    public void Variables_AreThoseOfTheExample()
    {
        var used = Variable().Matches(DeployFiles.Text("compose", "compose.yaml")).Select(match => match.Groups[1].Value)
            .Concat(Cache.Entries("environment").Where(entry => IsFromTheOutside(entry.Value)).Select(entry => entry.Key));

        Assert.Equal(ExampleVariable().Matches(Example).Select(match => match.Groups[1].Value).Order(), used.Distinct().Order());
        Assert.Equal(DeployFiles.Version, Given["CACHE_VERSION"]);
        Assert.All([Example, DeployFiles.Docs], text => Assert.Contains($"-p:ContainerImageTag={DeployFiles.Version}", text, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Service_TakesItsEnvironment_AndFitsWhatIsAroundIt()
    {
        await using var service = new DeployedService(Environment());
        var options = service.Options;

        Assert.Equal(Topics.Keys.Order(), options.Topics.Append(options.DeadLetterTopic).Order());
        Assert.Contains($"//:{Port(options.KafkaBootstrapServers, "kafka")},", Compose.At("services/kafka/environment/KAFKA_LISTENERS"), StringComparison.Ordinal);
        Assert.Contains($"//{options.KafkaBootstrapServers},", Compose.At("services/kafka/environment/KAFKA_ADVERTISED_LISTENERS"), StringComparison.Ordinal);
        Assert.Equal("6379", Port(options.RedisServers, "redis"));
        Assert.Equal($"redis:6379,password={Given["REDIS_PASSWORD"]}", options.RedisConnection);
        Assert.Equal(Given["REDIS_PASSWORD"], Filled(Compose.At("services/redis/command/4")));
        Assert.Equal("--requirepass", Compose.At("services/redis/command/3"));

        // What is passed on from .env is a key as well.
        Assert.All(Cache.Entries("environment"), entry => Assert.True(CacheOptionsReader.Known.Contains(DeployedService.Key(entry.Key)), entry.Key));
        Assert.True(DeployFiles.FitsInto(service, Cache.At("deploy/resources/limits/memory")));
    }

    [Fact]
    public async Task ProxyAndPrometheus_AskTheRoutesAndPortsOfTheService()
    {
        await using var service = new DeployedService(Environment());

        var target = Prometheus.Find("scrape_configs/0/dns_sd_configs/0");
        Assert.Equal("cache", target.At("names/0"));
        Assert.Equal($"{service.Options.HealthPort}", target.At("port"));
        Assert.Contains("/metrics", service.Routes);

        var servers = ServerTemplate().Match(Proxy);
        Assert.Equal(("cache", $"{service.Ports.Single(port => port != service.Options.HealthPort)}"), (servers.Groups[2].Value, servers.Groups[3].Value));
        Assert.Equal($"{service.Options.HealthPort}", CheckPort().Match(Proxy).Groups[1].Value);
        Assert.Equal("/readyz", CheckUri().Match(Proxy).Groups[1].Value);
        Assert.Contains("/readyz", service.Routes);
        Assert.Equal($"{Topics["event_metrics"]}", servers.Groups[1].Value);
        Assert.InRange(int.Parse(Cache.At("deploy/replicas"), CultureInfo.InvariantCulture), 2, Topics["event_metrics"]);

        // Both sides of a stream are silent for no longer than this.
        var timeouts = ProxyTimeout().Matches(Proxy).Select(match => TimeSpan.FromSeconds(int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture))).ToList();
        Assert.Equal(2, timeouts.Count);
        Assert.All(timeouts, timeout => Assert.True(timeout >= 2 * UpdateHub.HeartbeatInterval));
    }

    [Fact]
    public async Task Service_IsGivenTheTimeToStop_ThatTheDocsAdvise()
    {
        await using var service = new DeployedService(Environment());

        Assert.Equal($"{DeployFiles.Grace}s", Cache.At("stop_grace_period"));
        Assert.True(TimeSpan.FromSeconds(int.Parse(DeployFiles.Grace, CultureInfo.InvariantCulture)) > service.LongestStop);
    }

    [Fact]
    public void Images_ArePinned() =>
        Assert.Equal([], Services.Select(service => Filled(service.Value.At("image"))).Where(image => !DeployFiles.IsPinned(image)));

    [Fact]
    public void Services_Restart_WaitForEachOther_AndMountWhatIsThere()
    {
        var volumes = Compose.Entries("volumes").Select(volume => volume.Key).ToList();
        var mounts = Services.SelectMany(service => service.Value.Items("volumes")).Select(volume => volume.ToString().Split(':')).ToList();
        Assert.Equal([], mounts.Where(mount => mount[0].StartsWith('.') && !Path.Exists(DeployFiles.Path("compose", mount[0]))).Select(mount => mount[0]));
        Assert.Equal(volumes.Order(), mounts.Where(mount => !mount[0].StartsWith('.')).Select(mount => mount[0]).Order());
        Assert.All(mounts, mount => Assert.Equal(mount[0].StartsWith('.'), mount is [_, _, "ro"]));

        foreach (var (name, service) in Services)
        {
            var isJob = Services.Any(other => other.Value.At($"depends_on/{name}/condition") is "service_completed_successfully");
            Assert.Equal(isJob ? "no" : "unless-stopped", service.At("restart"));

            // A job and the service itself have none; who waits for health waits for a check.
            Assert.Equal(!isJob && name != "cache", service.Find("healthcheck/test") is not null);
            Assert.All(service.Entries("depends_on"), other => Assert.True(
                other.Value.At("condition") is "service_completed_successfully" || Compose.Find($"services/{other.Key}/healthcheck") is not null, other.Key));
            Assert.All(service.Items("depends_on"), other => Assert.NotNull(Compose.Find($"services/{other}")));

            // On loopback, unless .env says otherwise.
            Assert.All(service.Items("ports"), port => Assert.StartsWith("127.0.0.1:", Filled(port.ToString()), StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task HealthChecks_AskTheirOwnServer_WhereItListens()
    {
        await using var service = new DeployedService(Environment());
        var checks = Services.Where(one => one.Value.Find("healthcheck/test") is not null)
            .ToDictionary(one => one.Key, one => string.Join(' ', one.Value.Items("healthcheck/test")));

        Assert.Equal(["grafana", "kafka", "prometheus", "proxy", "redis"], checks.Keys.Order());
        foreach (var (name, path) in new[] { ("grafana", "/api/health"), ("prometheus", "/-/ready"), ("proxy", "/readyz") })
        {
            // What another container, or the host, reaches is the same port.
            Assert.EndsWith($" http://127.0.0.1:{Compose.At($"services/{name}/ports/0").Split(':')[^1]}{path}", checks[name], StringComparison.Ordinal);
        }

        Assert.Contains("/readyz", service.Routes);
        Assert.EndsWith($"--bootstrap-server localhost:{Port(service.Options.KafkaBootstrapServers, "kafka")}", checks["kafka"], StringComparison.Ordinal);

        // On the default port, with the server's own password.
        Assert.Equal("CMD-SHELL redis-cli ping | grep -q PONG", checks["redis"]);
        Assert.Equal(Filled(Compose.At("services/redis/command/4")), Filled(Compose.At("services/redis/environment/REDISCLI_AUTH")));
    }

    [Fact]
    public void Service_IsConfined()
    {
        Assert.Equal(["true", "ALL", "no-new-privileges:true", "/tmp"], new[] { "read_only", "cap_drop/0", "security_opt/0", "tmpfs/0" }.Select(path => Cache.At(path)));
        Assert.Equal([], Cache.Items("ports"));
        Assert.Equal(Compose.At("services/proxy/ports/0").Split(':')[^1], ProxyBind().Match(Proxy).Groups[1].Value);
    }

    [Fact]
    public void Grafana_ShowsTheBoard_WithTheDataOfPrometheus()
    {
        var mounts = Compose.Items("services/grafana/volumes").Select(volume => volume.ToString().Split(':')).ToDictionary(mount => mount[1], mount => mount[0]);
        var source = Provisioned("datasources").Single(file => file.Find("datasources") is not null).Find("datasources/0");
        var folder = Provisioned("dashboards").Single(file => file.Find("providers") is not null).At("providers/0/options/path");

        var board = mounts.Single(mount => mount.Key.StartsWith($"{folder}/", StringComparison.Ordinal));
        Assert.Equal(Repository.File("docs", "grafana", "cache.json"), Path.GetFullPath(DeployFiles.Path("compose", board.Value)));
        Assert.Equal(board.Key, Compose.At("services/grafana/environment/GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"));

        // The board names a data source either by its uid, or by a variable that offers those of a type, and takes the default one.
        var text = File.ReadAllText(Repository.File("docs", "grafana", "cache.json"));
        var variables = JsonElement.Parse(text).GetProperty("templating").GetProperty("list").EnumerateArray()
            .Where(variable => variable.GetProperty("type").GetString() is "datasource" && variable.GetProperty("query").GetString() == source.At("type"))
            .Select(variable => $"${{{variable.GetProperty("name").GetString()}}}").ToList();
        Assert.Equal("true", source.At("isDefault"));
        Assert.Equal([], Uid().Matches(text).Select(match => match.Groups[1].Value).Distinct().Except([source.At("uid"), .. variables]));

        Assert.Equal(("prometheus", "9090"), (new Uri(source.At("url")).Host, $"{new Uri(source.At("url")).Port}"));
        Assert.NotNull(Compose.Find("services/prometheus"));
        Assert.Equal(Prometheus.At("global/scrape_interval"), source.At("jsonData/timeInterval"));

        IEnumerable<YamlNode> Provisioned(string kind) =>
            Directory.EnumerateFiles(DeployFiles.Path("compose", mounts[$"/etc/grafana/provisioning/{kind}"])).SelectMany(file => DeployFiles.Documents(File.ReadAllText(file)));
    }

    [Fact]
    public async Task Promtool_AcceptsTheConfiguration_AsItIsMounted()
    {
        var promtool = Requirement.Program("promtool", "prometheus");
        var folder = Directory.CreateTempSubdirectory("compose-");
        try
        {
            foreach (var mount in Compose.Items("services/prometheus/volumes").Select(volume => volume.ToString().Split(':')).Where(mount => mount[0].StartsWith('.')))
            {
                File.Copy(DeployFiles.Path("compose", mount[0]), Path.Combine(folder.FullName, Path.GetFileName(mount[1])));
            }

            Requirement.Started();
            using var check = ChildProcess.Start(promtool, "check", "config", Path.Combine(folder.FullName, "prometheus.yml"));
            var output = string.Concat(await Task.WhenAll(check.StandardOutput.ReadToEndAsync(), check.StandardError.ReadToEndAsync()));
            await check.WaitForExitAsync();

            Assert.True(check.ExitCode == 0, output);
            var rules = File.ReadLines(Repository.File("docs", "grafana", "alerts.yaml")).Count(line => line.Contains("- alert:", StringComparison.Ordinal));
            Assert.Contains($"SUCCESS: {rules} rules found", output, StringComparison.Ordinal);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static IEnumerable<KeyValuePair<string, string>> Environment() =>
        Cache.Entries("environment").Where(entry => !IsFromTheOutside(entry.Value)).Select(entry => KeyValuePair.Create(entry.Key, Filled(entry.Value.ToString())));

    /// <summary>Compose takes the value of such a key from its own environment, and leaves it out where it has none.</summary>
    private static bool IsFromTheOutside(YamlNode value) => value is YamlScalarNode { Value: null or "" };

    private static string Filled(string text) => Variable().Replace(text, match =>
        Given.GetValueOrDefault(match.Groups[1].Value) ?? (match.Groups[2].Value.StartsWith(":-", StringComparison.Ordinal) ? match.Groups[2].Value[2..] : ""));

    private static string Port(string server, string service)
    {
        var parts = server.Split(':');
        Assert.Equal(service, parts[0]);
        Assert.NotNull(Compose.Find($"services/{service}"));
        return parts[1];
    }

    [GeneratedRegex(@"(?<!\$)\$\{(\w+)([^}]*)\}")]
    private static partial Regex Variable();

    [GeneratedRegex(@"^#?(\w+)=", RegexOptions.Multiline)]
    private static partial Regex ExampleVariable();

    [GeneratedRegex(@"--partitions (\d+)")]
    private static partial Regex Partitions();

    [GeneratedRegex("for topic in (.+);")]
    private static partial Regex Loop();

    [GeneratedRegex(@"--topic (\w+)")]
    private static partial Regex LastTopic();

    [GeneratedRegex(@"server-template replica (\d+) (\w+):(\d+)")]
    private static partial Regex ServerTemplate();

    [GeneratedRegex(@"check port (\d+)")]
    private static partial Regex CheckPort();

    [GeneratedRegex(@"http-check send meth GET uri (\S+)")]
    private static partial Regex CheckUri();

    [GeneratedRegex(@"timeout (?:client|server) (\d+)s")]
    private static partial Regex ProxyTimeout();

    [GeneratedRegex(@"bind :(\d+)")]
    private static partial Regex ProxyBind();

    [GeneratedRegex("""
        "uid": "([^"]+)"(?=\s*\})
        """)]
    private static partial Regex Uid();
}
