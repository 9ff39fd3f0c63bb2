using System.Globalization;
using System.Text.RegularExpressions;
using k8s;
using Microsoft.Extensions.Hosting;
using YamlDotNet.RepresentationModel;

namespace Cache.Tests.Deploy;

/// <summary><c>deploy/kubernetes</c> fits the service, and its files fit each other. No cluster is needed.</summary>
public sealed partial class KubernetesTests
{
    private const string Container = "spec/template/spec/containers/0";

    private static readonly string Folder = DeployFiles.Path("kubernetes");
    private static readonly string Kustomization = DeployFiles.Text("kubernetes", "kustomization.yaml");

    // Not secret.yaml, which somebody may have here.
    private static readonly List<string> Files = [.. Directory.EnumerateFiles(Folder, "*.yaml").Where(file => Path.GetFileName(file) is not ("kustomization.yaml" or "secret.yaml")).Order()];

    private static readonly List<YamlNode> Manifests = [.. Files.SelectMany(Documents)];

    private static readonly YamlNode Pods = Manifest("StatefulSet");
    private static readonly YamlNode Secret = Manifest("Secret");

    private static IEnumerable<KeyValuePair<string, string>> Environment =>
    [
        .. DeployFiles.Variables(DeployFiles.Text("kubernetes", "cache.env")),
        .. Secret.Entries("stringData").Select(entry => KeyValuePair.Create(entry.Key, entry.Key == "api_keys" ? "0123456789abcdef" : entry.Value.ToString())),
        .. Pods.Items($"{Container}/env").Select(variable => KeyValuePair.Create(variable.At("name"), variable.At("valueFrom/fieldRef/fieldPath") is "metadata.name" ? "cache-0" : variable.At("value"))),
    ];

    [Fact]
    public void EveryManifest_IsComplete_AndInTheKustomization_OrAnExample()
    {
        Assert.All(Manifests, manifest => Assert.All(["apiVersion", "kind", "metadata/name"], path => Assert.NotEmpty(manifest.At(path))));
        Assert.Distinct(Manifests.Select(manifest => $"{manifest.At("kind")} {manifest.At("metadata/name")}"));

        Assert.Equal(Files.Select(file => Path.GetFileName(file)).Except(["secret.example.yaml"]), Resource().Matches(Kustomization).Select(match => match.Groups[2].Value).Order());
    }

    [Fact]
    public void Manifests_HaveOnlyFieldsThatKubernetesKnows_AndOthersAreLeftOutByDefault()
    {
        var files = Files.ToLookup(file => Documents(file).TrueForAll(IsOfKubernetes));

        Assert.All(files[true], file => Assert.NotEmpty(KubernetesYaml.LoadAllFromString(File.ReadAllText(file), strict: true)));
        Assert.Equal(files[false].Select(file => Path.GetFileName(file)), Resource().Matches(Kustomization).Where(match => match.Groups[1].Length > 0).Select(match => match.Groups[2].Value).Order());

        // Groups of Kubernetes have no dot in them, or end in k8s.io.
        static bool IsOfKubernetes(YamlNode manifest) => manifest.At("apiVersion").Split('/')[0] is var group && (!group.Contains('.', StringComparison.Ordinal) || group.EndsWith(".k8s.io", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Service_TakesItsEnvironment_WithTheNameOfThePod()
    {
        await using var service = new DeployedService(Environment);

        Assert.Equal("cache-0", service.Options.KafkaProperties["group.instance.id"]);
        Assert.True(service.Options.IsProtected);
        Assert.True(DeployFiles.FitsInto(service, Pods.At($"{Container}/resources/limits/memory")));
        Assert.Equal(["configMapRef cache", "secretRef cache"], Pods.Items($"{Container}/envFrom").Select(source => (YamlMappingNode)source)
            .Select(source => $"{source.Children.Keys.Single()} {source.At($"{source.Children.Keys.Single()}/name")}"));
        var generator = DeployFiles.Documents(Kustomization).Single().Find("configMapGenerator/0");
        Assert.Equal(("cache", "cache.env", "cache"), (generator.At("name"), generator.At("envs/0"), Secret.At("metadata/name")));

        // A key that everybody can read here must not open anything.
        var example = Assert.Throws<ConfigurationException>(() => new DeployedService([.. Environment.Where(variable => variable.Key != "api_keys"), new("api_keys", Secret.At("stringData/api_keys"))]));
        Assert.StartsWith("api_keys", Assert.Single(example.Errors), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Probes_AskRoutesOfTheService_OnItsHealthPort()
    {
        await using var service = new DeployedService(Environment);
        var ports = Ports();

        Assert.Equal(service.Ports.Order(), ports.Values.Order());
        Assert.Equal(service.Options.HealthPort, ports["health"]);
        Assert.Equal(["/alive", "/alive", "/readyz"], Probes(Pods.Find(Container)).Select(probe => probe.At("httpGet/path")));
        Assert.All(Probes(Pods.Find(Container)), probe => Assert.Contains(probe.At("httpGet/path"), service.Routes));
        Assert.All(Probes(Pods.Find(Container)), probe => Assert.Equal("health", probe.At("httpGet/port")));

        var monitor = Manifest("ServiceMonitor");
        Assert.Contains(monitor.At("spec/endpoints/0/path"), service.Routes);
        var scraped = Assert.Single(Manifests, manifest => manifest.At("kind") is "Service" && Selects(monitor.Find("spec/selector/matchLabels"), manifest.Find("metadata/labels")));
        Assert.Equal(monitor.At("spec/endpoints/0/port"), scraped.At("spec/ports/0/name"));
        Assert.Equal("health", scraped.At("spec/ports/0/targetPort"));

        // Readers have no way to the health port, and Prometheus sees replicas that are not ready.
        var forReaders = Assert.Single(Manifests, manifest => manifest.At("kind") is "Service" && manifest != scraped);
        Assert.Equal(["http"], forReaders.Items("spec/ports").Select(port => port.At("targetPort")));
        Assert.Equal(("None", "true"), (scraped.At("spec/clusterIP"), scraped.At("spec/publishNotReadyAddresses")));
        Assert.Equal(scraped.At("metadata/name"), Pods.At("spec/serviceName"));
    }

    [Fact]
    public async Task Service_IsGivenTheTimeToStop_ThatTheDocsAdvise_HereAndInAzure()
    {
        await using var service = new DeployedService(Environment);
        var azure = DeployFiles.Documents(AzureTemplate().Match(DeployFiles.Docs).Groups[1].Value).Single().Find("properties/template");

        Assert.Equal(DeployFiles.Grace, Pods.At("spec/template/spec/terminationGracePeriodSeconds"));
        Assert.Equal(DeployFiles.Grace, azure.At("terminationGracePeriodSeconds"));
        Assert.True(TimeSpan.FromSeconds(int.Parse(DeployFiles.Grace, CultureInfo.InvariantCulture)) > service.LongestStop);
        Assert.Equal(azure.Items("containers/0/probes").Select(probe => probe.At("httpGet/path")), Probes(Pods.Find(Container)).Select(probe => probe.At("httpGet/path")));
    }

    [Fact]
    public void Selectors_AreLabelsOfThePods()
    {
        var labels = Pods.Find("spec/template/metadata/labels");
        var spread = Pods.Items("spec/template/spec/topologySpreadConstraints").ToList();
        YamlNode?[] selectors =
        [
            Pods.Find("spec/selector/matchLabels"), Manifest("PodDisruptionBudget").Find("spec/selector/matchLabels"), Manifest("NetworkPolicy").Find("spec/podSelector/matchLabels"),
            .. Manifests.Where(manifest => manifest.At("kind") is "Service").Select(manifest => manifest.Find("spec/selector")),
            .. spread.Select(constraint => constraint.Find("labelSelector/matchLabels")),
        ];

        Assert.All(selectors, selector => Assert.True(Selects(selector, labels)));
        Assert.Equal(["kubernetes.io/hostname", "topology.kubernetes.io/zone"], spread.Select(constraint => constraint.At("topologyKey")));
    }

    [Fact]
    public void Pods_MeetTheStandardOfTheirNamespace_AndAskForNothing()
    {
        Assert.Equal("restricted", Manifest("Namespace").Entries("metadata/labels").Single(label => label.Key == "pod-security.kubernetes.io/enforce").Value.ToString());
        string[] required =
        [
            "securityContext/runAsNonRoot true", "securityContext/runAsUser 1654", "securityContext/seccompProfile/type RuntimeDefault",
            "containers/0/securityContext/allowPrivilegeEscalation false", "containers/0/securityContext/readOnlyRootFilesystem true", "containers/0/securityContext/capabilities/drop/0 ALL",
            "automountServiceAccountToken false", "enableServiceLinks false",
        ];
        Assert.All(required.Select(line => line.Split(' ')), line => Assert.Equal(line[1], Pods.At($"spec/template/spec/{line[0]}")));

        // .NET writes its diagnostic socket there, and nothing else.
        Assert.Equal("/tmp", Assert.Single(Pods.Items($"{Container}/volumeMounts")).At("mountPath"));
        Assert.NotNull(Pods.Find("spec/template/spec/volumes/0/emptyDir"));
    }

    [Fact]
    public async Task NetworkPolicy_LetsThrough_WhatTheConfigurationNames()
    {
        await using var service = new DeployedService(Environment);
        var policy = Manifest("NetworkPolicy");

        Assert.Equal(["Ingress", "Egress"], policy.Items("spec/policyTypes").Select(type => type.ToString()));
        Assert.Equal(service.Ports.Order(), policy.Items("spec/ingress").Select(rule => int.Parse(rule.At("ports/0/port"), CultureInfo.InvariantCulture)).Order());
        Assert.All(policy.Items("spec/ingress"), rule => Assert.Single(rule.Items("from")));

        var ways = policy.Items("spec/egress").Select(rule => (
            Namespace: rule.Entries("to/0/namespaceSelector/matchLabels").Single().Value.ToString(),
            Ports: string.Join(' ', rule.Items("ports").Select(port => $"{port.At("protocol")}/{port.At("port")}")))).ToList();
        Assert.Equal([("kube-system", "UDP/53 TCP/53"), Way(service.Options.KafkaBootstrapServers), Way(service.Options.RedisServers)], ways);

        // kafka-bootstrap.kafka.svc:9092 is a service in the namespace kafka.
        static (string Namespace, string Ports) Way(string server) => ServerInCluster().Match(server) is { Success: true } match
            ? (match.Groups[1].Value, $"TCP/{match.Groups[2].Value}")
            : throw new FormatException(server);
    }

    [Fact]
    public async Task ScaledObject_WatchesTheGroupOfTheService_UpToThePartitions()
    {
        await using var service = new DeployedService(Environment);
        var scaled = Manifest("ScaledObject");
        var lag = scaled.Find("spec/triggers/0/metadata");

        Assert.Equal(("kafka", service.Options.ConsumerGroup, service.Options.KafkaBootstrapServers), (scaled.At("spec/triggers/0/type"), lag.At("consumerGroup"), lag.At("bootstrapServers")));
        Assert.Equal(service.Options.ConsumeFrom.Kind.ToString(), lag.At("offsetResetPolicy"), ignoreCase: true);
        Assert.InRange(long.Parse(lag.At("lagThreshold"), CultureInfo.InvariantCulture), 1, service.Options.ReadyLagThreshold / 2);
        Assert.Equal($"{ComposeTests.Topics["event_metrics"]}", scaled.At("spec/maxReplicaCount"));
        Assert.Equal(Pods.At("spec/replicas"), scaled.At("spec/minReplicaCount"));
        Assert.All(["apiVersion", "kind"], path => Assert.Equal(Pods.At(path), scaled.At($"spec/scaleTargetRef/{path}")));
        Assert.Equal(Pods.At("metadata/name"), scaled.At("spec/scaleTargetRef/name"));

        // Or a node could not be drained.
        Assert.InRange(int.Parse(Manifest("PodDisruptionBudget").At("spec/maxUnavailable"), CultureInfo.InvariantCulture), 1, int.Parse(Pods.At("spec/replicas"), CultureInfo.InvariantCulture) - 1);
    }

    [Fact]
    public void Image_IsPinned_ToThisVersion()
    {
        var image = Pods.At($"{Container}/image");
        Assert.True(DeployFiles.IsPinned(image), image);
        Assert.EndsWith($"/cache-service:{DeployFiles.Version}", image, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Kustomize_BuildsThem_WithTheOptionalOnes()
    {
        var kubectl = Requirement.Program("kubectl", "kubectl");
        var copy = Directory.CreateTempSubdirectory("kubernetes-");
        try
        {
            foreach (var file in Directory.EnumerateFiles(Folder))
            {
                File.Copy(file, Path.Combine(copy.FullName, Path.GetFileName(file)));
            }

            await File.WriteAllTextAsync(Path.Combine(copy.FullName, "kustomization.yaml"), Resource().Replace(Kustomization, "  - $2"));
            Requirement.Started();
            using var kustomize = ChildProcess.Start(kubectl, "kustomize", copy.FullName);
            var output = await Task.WhenAll(kustomize.StandardOutput.ReadToEndAsync(), kustomize.StandardError.ReadToEndAsync());
            await kustomize.WaitForExitAsync();
            Assert.True(kustomize.ExitCode == 0, output[1]);

            var built = DeployFiles.Documents(output[0]);
            Assert.Equal(Manifests.Select(manifest => manifest.At("kind")).Except(["Secret"]).Append("ConfigMap").Order(), built.Select(manifest => manifest.At("kind")).Distinct().Order());
            var configuration = built.Single(manifest => manifest.At("kind") is "ConfigMap");
            var pods = built.Single(manifest => manifest.At("kind") is "StatefulSet");
            Assert.Equal(configuration.At("metadata/name"), pods.At($"{Container}/envFrom/0/configMapRef/name"));
            Assert.Equal("cache", pods.At($"{Container}/envFrom/1/secretRef/name"));
            Assert.Equal(DeployFiles.Variables(DeployFiles.Text("kubernetes", "cache.env")), configuration.Entries("data").ToDictionary(entry => entry.Key, entry => entry.Value.ToString()));
            Assert.All(built.Where(manifest => manifest.At("kind") is not "Namespace"), manifest => Assert.Equal(Secret.At("metadata/namespace"), manifest.At("metadata/namespace")));
        }
        finally
        {
            copy.Delete(recursive: true);
        }
    }

    private static List<YamlNode> Documents(string file) => DeployFiles.Documents(File.ReadAllText(file));

    private static YamlNode Manifest(string kind) => Assert.Single(Manifests, manifest => manifest.At("kind") == kind);

    private static Dictionary<string, int> Ports() => Pods.Items($"{Container}/ports").ToDictionary(port => port.At("name"), port => int.Parse(port.At("containerPort"), CultureInfo.InvariantCulture));

    private static IEnumerable<YamlNode?> Probes(YamlNode? container) => new[] { "startupProbe", "livenessProbe", "readinessProbe" }.Select(container.Find);

    private static bool Selects(YamlNode? selector, YamlNode? labels) =>
        selector is YamlMappingNode { Children.Count: > 0 } mapping && labels is YamlMappingNode given && mapping.Children.All(given.Children.Contains);

    [GeneratedRegex(@"^  (# )?- (\w+\.yaml).*$", RegexOptions.Multiline)]
    private static partial Regex Resource();

    [GeneratedRegex(@"^[\w-]+\.([\w-]+)\.svc:(\d+)$")]
    private static partial Regex ServerInCluster();

    [GeneratedRegex(@"```yaml\n(properties:\n.+?)```", RegexOptions.Singleline)]
    private static partial Regex AzureTemplate();
}
