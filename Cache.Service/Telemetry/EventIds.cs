namespace Cache.Service.Telemetry;

/// <summary>The first event id of each stage; a stage numbers its log messages from there.</summary>
internal static class EventIds
{
    public const int Consume = 1000;
    public const int Persist = 2000;
    public const int Flush = 3000;
    public const int Query = 4000;
    public const int Streaming = 5000;
    public const int Protect = 6000;
    public const int Host = 7000;
}
