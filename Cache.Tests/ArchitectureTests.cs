using System.Reflection;
using NetArchTest.Rules;

namespace Cache.Tests;

/// <summary>The rooms of the service: each uses only those above it.</summary>
public sealed class ArchitectureTests
{
    private const int MaxLines = 300;
    private const int MaxConstructorParameters = 8;

    private static readonly Assembly Service = typeof(Cache.Service.Program).Assembly;

    /// <summary>From top to bottom: a room may use only those above it.</summary>
    private static readonly string[] Rooms =
    [
        "Options", "Telemetry", "Hosting", "Model", "Partitions", "Decode", "Enqueue", "Consume", "Persist", "Flush",
        "Http", "Http.Access", "Http.Query", "Http.Fleet", "Http.Streaming", "Page",
    ];

    /// <summary>Files longer than <see cref="MaxLines"/>, each with the reason.</summary>
    private static readonly Dictionary<string, string> LongFiles = new()
    {
        ["Options/CacheOptionsReader.cs"] = "one method per kind of key, each a few lines",
    };

    /// <summary>Classes with more than <see cref="MaxConstructorParameters"/> constructor parameters, each with the reason.</summary>
    private static readonly Dictionary<string, string> WideClasses = [];

    /// <summary>Classes that resolve services themselves, each with the reason.</summary>
    private static readonly Dictionary<string, string> Locators = new()
    {
        ["QueryKey"] = "ASP.NET's own context factory, which it wraps, takes the provider",
    };

    public static TheoryData<string> AllRooms => [.. Rooms];

    [Theory]
    [MemberData(nameof(AllRooms))]
    public void Room_UsesOnlyThoseAboveIt(string room)
    {
        var below = Rooms.SkipWhile(other => other != room).Skip(1).Where(other => !room.StartsWith($"{other}.", StringComparison.Ordinal)).ToList();
        Assert.Empty(below.SelectMany(other => Users(room, other).Select(user => $"{user} uses {other}")));
    }

    [Fact]
    public void EveryTypeOfTheService_IsInARoom_ButForTheProgram()
    {
        var rooms = Rooms.Select(Namespace).ToHashSet();
        Assert.Equal(["Program"], Types.InAssembly(Service).GetTypes()
            .Where(type => type.Namespace?.StartsWith("Cache.Service", StringComparison.Ordinal) is true && !rooms.Contains(type.Namespace)).Select(type => type.Name));
        Assert.All(Rooms, room => Assert.NotEmpty(InRoom(room).GetTypes()));
    }

    [Fact]
    public void Picture_InTheDocs_ShowsTheArrowsThatThereAre()
    {
        var arrows = Rooms.Select((_, at) => Rooms[..at].Where(above => Users(Rooms[at], above).Any()).ToHashSet()).ToList();

        // Arrows implied by others are not drawn, so that the picture shows the layering.
        var drawn = Rooms.SelectMany((room, at) => arrows[at]
            .Where(above => !arrows[at].Any(between => between != above && Reaches(between, above)))
            .OrderBy(above => Array.IndexOf(Rooms, above))
            .Select(above => $"    {Id(room)} --> {Id(above)}")).ToList();

        var page = File.ReadAllText(Repository.File("docs", "architecture.md"));
        var picture = page[(page.IndexOf("```mermaid\nflowchart BT", StringComparison.Ordinal) + "```mermaid\n".Length)..];
        picture = picture[..picture.IndexOf("```", StringComparison.Ordinal)];
        var expected = $"flowchart BT\n{string.Join('\n', drawn)}\n";
        Assert.True(picture == expected, $"docs/architecture.md should show:\n{expected}");

        bool Reaches(string from, string to) => arrows[Array.IndexOf(Rooms, from)] is var next && (next.Contains(to) || next.Any(room => Reaches(room, to)));
        static string Id(string room) => room.Replace('.', '/');
    }

    [Fact]
    public void Files_AreShort_OrSayWhyNot() =>
        Assert.Equal(LongFiles.Keys.Order(StringComparer.Ordinal), Directory.EnumerateFiles(Repository.File("Cache.Service"), "*.cs", SearchOption.AllDirectories)
            .Select(file => (Name: Path.GetRelativePath(Repository.File("Cache.Service"), file).Replace('\\', '/'), Lines: File.ReadLines(file).Count()))
            .Where(file => file.Lines > MaxLines && !file.Name.StartsWith("obj/", StringComparison.Ordinal) && !file.Name.StartsWith("bin/", StringComparison.Ordinal))
            .Select(file => file.Name).Order(StringComparer.Ordinal));

    [Fact]
    public void Constructors_AreNarrow_OrSayWhyNot() =>
        Assert.Equal(WideClasses.Keys.Order(StringComparer.Ordinal), Service.GetTypes()
            .Where(type => type is { IsClass: true, IsAbstract: false } && type.GetMethod("<Clone>$") is null && !type.Name.Contains('<', StringComparison.Ordinal)
                && type.GetConstructors(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).Any(constructor => constructor.GetParameters().Length > MaxConstructorParameters))
            .Select(type => type.Name).Order(StringComparer.Ordinal));

    [Fact]
    public void Services_AreHandedOver_NotLookedUp() =>
        Assert.Equal(Locators.Keys.Order(StringComparer.Ordinal), Service.GetTypes()
            .Where(type => !type.Name.Contains('<', StringComparison.Ordinal)
                && type.GetConstructors(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic)
                    .Any(constructor => constructor.GetParameters().Any(parameter => parameter.ParameterType == typeof(IServiceProvider))))
            .Select(type => type.Name).Order(StringComparer.Ordinal));

    private static PredicateList InRoom(string room) =>
        Types.InAssembly(Service).That().ResideInNamespaceMatching($"^{Namespace(room).Replace(".", @"\.", StringComparison.Ordinal)}$");

    private static IEnumerable<string> Users(string room, string other) =>
        InRoom(room).And().HaveDependencyOn(Namespace(other)).GetTypes().Where(user => UsesExactly(user, other)).Select(user => user.Name);

    /// <summary>Whether a type uses a room itself, and not only a room inside it.</summary>
    private static bool UsesExactly(Type user, string other)
    {
        var inside = Rooms.Where(room => room.StartsWith($"{other}.", StringComparison.Ordinal)).ToList();
        return inside.Count == 0 || Types.InAssembly(Service).That().HaveNameMatching($"^{System.Text.RegularExpressions.Regex.Escape(user.Name)}$")
            .And().HaveDependencyOnAny([.. Types.InAssembly(Service).That().ResideInNamespaceMatching($"^{Namespace(other).Replace(".", @"\.", StringComparison.Ordinal)}$").GetTypes().Select(type => type.FullName!)]).GetTypes().Any();
    }

    private static string Namespace(string room) => $"Cache.Service.{room}";
}
