using System.Text;
using Cache.Service.Persist;
using Confluent.Kafka;

namespace Cache.Tests.Persist;

public sealed class SentLetterTests
{
    [Fact]
    public void Letter_IsKeptWholeUpToTheMaximum_AndBeyondItOnlyTheBeginningOfKeyAndValue()
    {
        var (key, value) = (Bytes('k', SentLetter.MaxPreview + 10), Bytes('v', SentLetter.MaxPreview + 20));
        var record = Record(key, value, ("mine", "1"));
        var size = SentLetter.Of(record, int.MaxValue).Size;

        var whole = SentLetter.Of(record, size);
        Assert.True(whole.IsWhole);
        Assert.Equal(key, whole.Key);
        Assert.Equal(value, whole.Value);
        Assert.Equal("mine", Assert.Single(whole.Headers).Key);
        Assert.InRange(size, key.Length + value.Length, key.Length + value.Length + 1000);

        var cut = SentLetter.Of(record, size - 1);
        Assert.False(cut.IsWhole);
        Assert.Equal(key[..SentLetter.MaxPreview], cut.Key);
        Assert.Equal(value[..SentLetter.MaxPreview], cut.Value);
        Assert.Equal(value.Length, cut.ValueBytes);
        Assert.Empty(cut.Headers);

        // As much as a whole one of these bytes.
        Assert.Equal(SentLetter.Of(Record(cut.Key, cut.Value), int.MaxValue).Size, cut.Size);
    }

    [Fact]
    public void LetterWithoutKeyAndValue_HasNone_KeptOrNot()
    {
        foreach (var maxSize in new[] { int.MaxValue, 1 })
        {
            var letter = SentLetter.Of(Record(null, null), maxSize);

            Assert.Null(letter.Key);
            Assert.Null(letter.Value);
            Assert.Equal(0, letter.ValueBytes);
        }
    }

    [Fact]
    public void LetterWhoseValueWasOmitted_KnowsItsLength_AndIsNotWhole()
    {
        var letter = SentLetter.Of(Record(null, null, (DeadLetters.OmittedHeader, "2000000")), int.MaxValue);

        Assert.Equal((2_000_000, false), (letter.ValueBytes, letter.IsWhole));
    }

    [Theory]
    [InlineData(1, true)]
    [InlineData(249, true)]
    [InlineData(250, false)]
    [InlineData(0, false)]
    public void Origin_IsATopicsName_OrUnknown(int length, bool isKnown)
    {
        var topic = new string('t', length);

        Assert.Equal(isKnown ? topic : null, SentLetter.Of(Record(null, null, (DeadLetters.TopicHeader, topic)), int.MaxValue).OriginTopic);
    }

    [Theory]
    [InlineData("abcdef", "abcd")]
    [InlineData("abc€", "abc")]
    [InlineData("ab€f", "ab")]
    [InlineData("a€fg", "a€")]
    [InlineData("😀f", "😀")]
    [InlineData("f😀", "f")]
    [InlineData("abcd", "abcd")]
    public void Beginning_CutsNoCharacterInTwo(string text, string beginning) =>
        Assert.Equal(beginning, Encoding.UTF8.GetString(SentLetter.Beginning(Encoding.UTF8.GetBytes(text), 4)));

    [Fact]
    public void Beginning_OfBytesThatAreNoText_IsCutAnywhere_ButNotTooEarly() =>
        Assert.InRange(SentLetter.Beginning(Enumerable.Repeat((byte)0b1000_0000, 10).ToArray(), 5).Length, 2, 5);

    private static byte[] Bytes(char letter, int count) => Encoding.ASCII.GetBytes(new string(letter, count));

    private static ConsumeResult<byte[]?, byte[]?> Record(byte[]? key, byte[]? value, params (string Name, string Value)[] headers)
    {
        var message = new Message<byte[]?, byte[]?> { Key = key, Value = value };
        if (headers.Length > 0)
        {
            message.Headers = [.. headers.Select(header => new Header(header.Name, Encoding.UTF8.GetBytes(header.Value)))];
        }

        return new() { Topic = "cache_dead_letters", Partition = 1, Offset = 2, Message = message };
    }
}
