using System.Text;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.ServiceDefaults;

public sealed class FlatKeysTests
{
    [Fact]
    public void KeyThatIsNotSet_GivesTheFallback_AndNoError()
    {
        var keys = Keys();

        Assert.Equal("text", keys.Text("a", "text", required: true));
        Assert.Equal(7, keys.Number("b", 7, 1, 9));
        Assert.True(keys.Flag("c", fallback: true));
        Assert.Equal('x', keys.Value<char>("d", 'x', char.TryParse, "it must be a letter."));
        Assert.Null(keys.List("e"));
        Assert.Equal("kafka:9092", keys.Servers("f", "kafka:9092"));
        Assert.Empty(keys.Errors);
        Assert.Equal(["a", "b", "c", "d", "e", "f"], keys.Names);
        keys.ThrowIfWrong();
    }

    [Fact]
    public void Values_AreReadWithoutBlanks_InUpperOrLowerCase()
    {
        var keys = Keys(("A", " text "), ("b", " +5 "), ("c", " True "), ("d", "y"), ("F", "a:1, b:2,"));

        Assert.Equal("text", keys.Text("a", ""));
        Assert.Equal(5, keys.Number("B", 7, 1, 9));
        Assert.True(keys.Flag("c"));
        Assert.Equal('y', keys.Value<char>("d", 'x', char.TryParse, "it must be a letter."));
        Assert.Equal("a:1,b:2", keys.Servers("f", "kafka:9092"));
        Assert.Empty(keys.Errors);
    }

    [Theory]
    [InlineData("0")]
    [InlineData("10")]
    [InlineData("1.5")]
    [InlineData("1e0")]
    [InlineData("1,0")]
    [InlineData("99999999999999999999")]
    [InlineData("x")]
    public void NumberOutOfRange_GivesTheFallback_AndAnErrorWithKeyValueAndRange(string value)
    {
        var keys = Keys(("n", value));

        Assert.Equal(7, keys.Number("n", 7, 1, 9, " A hint."));
        Assert.Equal([$"n is '{value}'; it must be a whole number from 1 to 9 (default 7). A hint."], keys.Errors);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(9)]
    public void NumberAtTheEndOfItsRange_IsRight(int value) => Assert.Equal(value, Keys(("n", $"{value}")).Number("n", 7, 1, 9));

    [Fact]
    public void Errors_AreReportedAtOnce_AsOneException()
    {
        var keys = Keys(("a", " "), ("b", ""), ("c", "yes"), ("d", "long"), ("e", "[\"x\""), ("f", "user:S3cr3t@host"));
        keys.Text("a", "name", required: true);
        keys.Number("b", 7, 1, 9);
        keys.Flag("c");
        keys.Value<char>("d", 'x', char.TryParse, "it must be a letter.");
        keys.List("e");
        keys.Servers("f", "kafka:9092");

        var thrown = Assert.Throws<ConfigurationException>(keys.ThrowIfWrong);

        Assert.Equal(
            [
                "a is empty; give a name, or leave the key out for name.",
                "b is empty; it must be a whole number from 1 to 9 (default 7).",
                "c is 'yes'; it must be true or false (default false).",
                "d is 'long'; it must be a letter.",
                "e is '[\"x\"'; it must be a JSON array such as [\"a\",\"b\"], or names with commas.",
                "f has a broker's address that cannot be used; it must be host:port, or several with commas (default kafka:9092); credentials go to Kafka:sasl.username and Kafka:sasl.password.",
            ],
            thrown.Errors);
        Assert.Equal(7, thrown.Message.Split('\n').Length);
        Assert.DoesNotContain("S3cr3t", thrown.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("password=x")]
    [InlineData("user@host")]
    public void ValueThatMayBeAPassword_IsNotRepeated(string value) => Assert.Equal("n cannot be used; right.", FlatKeys.Wrong("n", value, "right."));

    [Fact]
    public void LongValue_IsNotRepeated() => Assert.Equal("n cannot be used; right.", FlatKeys.Wrong("n", new('9', 101), "right."));

    [Theory]
    [InlineData("a, b", "a|b")]
    [InlineData(" a ,, b ,", "a|b")]
    [InlineData("[a, b]", "a|b")]
    [InlineData("[\"a\", \"b,c\"]", "a|b,c")]
    [InlineData("[]", "")]
    [InlineData("", "")]
    [InlineData("[::1]:9092,b", "[::1]:9092|b")]
    public void List_IsCommasOrAJsonArray(string value, string items) => Assert.Equal(items, string.Join('|', Keys(("l", value)).List("l")!));

    [Fact]
    public void List_KeepsEmptyItemsBetweenCommas_OnRequest() => Assert.Equal(["a", "", "b"], Keys(("l", "a, ,b")).List("l", keepsEmpty: true)!);

    [Fact]
    public void List_OfIndexedKeys_IsTakenAsItIs() => Assert.Equal(["a,b", ""], Keys(("l:0", "a,b"), ("l:1", " ")).List("l")!);

    [Fact]
    public void List_IsThatOfTheLastSource_WhateverItsShape()
    {
        using var file = new MemoryStream(Encoding.UTF8.GetBytes("""{"l":["a","b"]}"""));
        using var other = new MemoryStream(Encoding.UTF8.GetBytes("""{"l":["a","b"]}"""));
        var indexed = new ConfigurationBuilder().AddJsonStream(file);
        var text = new ConfigurationBuilder().AddInMemoryCollection([new("l", "c")]);

        Assert.Equal(["c"], new FlatKeys(indexed.AddInMemoryCollection([new("L", "c")]).Build()).List("l")!);
        Assert.Equal(["a", "b"], new FlatKeys(text.AddJsonStream(other).Build()).List("l")!);
    }

    [Fact]
    public void ListThatCannotBeRead_IsNotRepeated_WhereItIsSecret()
    {
        var keys = Keys(("l", "[\"S3cr3t"));

        Assert.Null(keys.List("l", secret: true));
        Assert.DoesNotContain("S3cr3t", Assert.Single(keys.Errors), StringComparison.Ordinal);
    }

    [Fact]
    public void Prefix_Wins_AndABlankValueCountsAsNone()
    {
        var keys = Prefixed(("n", "1"), ("MY_n", "2"), ("b", "3"), ("my_b", " "), ("t", ""), ("l", "a"), ("my_l:0", "b"));

        Assert.Equal(2, keys.Number("n", 7, 1, 9));
        Assert.Equal(3, keys.Number("b", 7, 1, 9));
        Assert.Equal("text", keys.Text("t", "text", required: true));
        Assert.Equal(["b"], keys.List("l")!);
        Assert.Empty(keys.Errors);
        Assert.Equal(["n", "b", "t", "l"], keys.Names);
    }

    [Fact]
    public void Error_HasTheKeyAsItIsGiven()
    {
        var keys = Prefixed(("n", "x"), ("my_m", "y"), ("my_f", "a b"));
        keys.Number("n", 7, 1, 9);
        keys.Number("m", 7, 1, 9);
        keys.Servers("f", "kafka:9092");

        Assert.StartsWith("n is 'x'; ", keys.Errors[0], StringComparison.Ordinal);
        Assert.StartsWith("my_m is 'y'; ", keys.Errors[1], StringComparison.Ordinal);
        Assert.StartsWith("my_f has a broker's address", keys.Errors[2], StringComparison.Ordinal);
    }

    private static FlatKeys Keys(params (string Key, string Value)[] settings) => new(Configuration(settings));

    private static FlatKeys Prefixed(params (string Key, string Value)[] settings) => new(Configuration(settings), "my_");

    private static IConfigurationRoot Configuration((string Key, string Value)[] settings) =>
        new ConfigurationBuilder().AddInMemoryCollection(settings.Select(setting => KeyValuePair.Create<string, string?>(setting.Key, setting.Value))).Build();
}
