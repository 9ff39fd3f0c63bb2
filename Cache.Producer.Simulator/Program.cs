using Confluent.Kafka;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace Cache.Producer.Simulator;

/// <summary>Stands in for the stream processor: writes windows and sessions to Kafka.</summary>
public static class Program
{
    /// <summary>The name of the application and of its ActivitySource.</summary>
    public const string Name = "Cache.Producer.Simulator";

    /// <summary>Runs the simulator until it is stopped or has sent its count.</summary>
    /// <returns>
    /// 0 if every row sent was acknowledged; 1 for invalid options, or if it could not send at all; 2 if rows were not
    /// acknowledged.
    /// </returns>
    public static async Task<int> Main(string[] args)
    {
        var arguments = SimulatorCommand.Read(args);
        if (arguments.Answer(Console.Out))
        {
            return SimulatorStatus.Success;
        }

        StatusLine.Open();
        try
        {
            using var host = Build(arguments);
            var status = host.Services.GetRequiredService<SimulatorStatus>();
            await host.RunAsync();
            return status.ExitCode;
        }
        catch (ConfigurationException bad)
        {
            await Console.Error.WriteLineAsync(bad.Message);
            await Console.Error.WriteLineAsync("--help lists the options.");
            return SimulatorStatus.Unusable;
        }
    }

    /// <summary>
    /// Builds the simulator without starting it. When done, it stops its own host, never the process;
    /// <see cref="SimulatorStatus"/> in the host's services has the result.
    /// </summary>
    /// <exception cref="ConfigurationException">At least one option is invalid; the message lists them all.</exception>
    public static IHost Build(string[] args) => Build(SimulatorCommand.Read(args));

    private static IHost Build(KeyArguments arguments)
    {
        if (arguments.Errors.Count > 0)
        {
            throw new ConfigurationException(arguments.Errors);
        }

        // The lowest layer: every other one overrides it. The Kafka client's logs are not needed, as it also reports its errors.
        var defaults = new ConfigurationManager();
        defaults.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["Logging:LogLevel:Microsoft"] = "Warning",
            ["Logging:LogLevel:Aspire.Confluent.Kafka"] = "None",
            ["hostBuilder:reloadConfigOnChange"] = "false",
        });

        // Set explicitly: in another program's process, the default would be that program's name.
        var builder = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings
        {
            Args = [.. arguments.Keys.Select(key => $"--{key.Key}={key.Value}")],
            ApplicationName = Name,
            Configuration = defaults,
        });
        var options = SimulatorOptions.Read(builder.Configuration);
        builder.AddServiceDefaults();

        builder.Logging.AddSimpleConsole(console => console.SingleLine = true);
        if (options.Quiet)
        {
            builder.Logging.AddFilter<ConsoleLoggerProvider>(Name, LogLevel.Warning);
        }

        builder.Services.Configure<ConsoleLifetimeOptions>(console => console.SuppressStatusMessages = true);

        builder.Services.TryAddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton<SimulatorStatus>();
        builder.Services.AddSingleton<KafkaErrors>();
        builder.Services.AddHostedService<SimulatorWorker>();
        builder.AddKafkaProducer<byte[], byte[]>("kafka", settings =>
        {
            // Only the brokers: the connection string may also contain properties.
            settings.ConnectionString = options.BootstrapServers;

            // A health check that produces would write rows of its own to the topics.
            settings.DisableHealthChecks = true;

            // The worker creates one span per row, and its traceparent; Aspire's integration would add more.
            settings.DisableTracing = true;
            settings.DisableMetrics = true;
            Configure(settings.Config, options, builder.Configuration.GetSection("Kafka").GetChildren());
        }, (services, producer) =>
        {
            var errors = services.GetRequiredService<KafkaErrors>();
            producer.SetErrorHandler((_, error) => errors.Last = error.Reason);
        });
        return builder.Build();
    }

    private static void Configure(ProducerConfig config, SimulatorOptions options, IEnumerable<IConfigurationSection> section)
    {
        foreach (var (name, value) in options.KafkaProperties)
        {
            config.Set(name, value);
        }

        config.ClientId ??= "cache-simulator";
        config.EnableIdempotence ??= true;
        config.Acks ??= Acks.All;
        config.LingerMs ??= 5;
        // As Java's producers do, so that a key goes to the partition that the stream processor would choose.
        config.Partitioner ??= Partitioner.Murmur2Random;
        // Compressed, a row over 1 MiB passes the broker's limit of 1 MB per batch and reaches the service, which must reject it.
        config.CompressionType ??= CompressionType.Lz4;
        config.MessageMaxBytes ??= 4_000_000;
        // Only a report's error is used.
        config.DeliveryReportFields ??= "none";
        foreach (var property in section.Where(property => property.Value is not null))
        {
            // Environment variable names cannot contain dots, and no property name contains an underscore.
            config.Set(property.Key.Replace('_', '.'), property.Value);
        }
    }
}
