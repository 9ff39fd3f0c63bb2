using Microsoft.Extensions.Hosting;

namespace Cache.Producer.Simulator;

/// <summary>Plays the stream processor: writes closed windows to Kafka.</summary>
public static class Program
{
    /// <summary>Runs the simulator until it is told to stop or has sent its count.</summary>
    public static async Task<int> Main(string[] args)
    {
        await Build(args).RunAsync();
        return 0;
    }

    /// <summary>Puts the simulator together without starting it.</summary>
    public static IHost Build(string[] args) => Host.CreateApplicationBuilder(args).Build();
}
