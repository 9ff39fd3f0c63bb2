using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.ServiceDefaults;

public sealed class ReminderTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly Reminder _reminder;

    public ReminderTests() => _reminder = new(_time);

    [Fact]
    public void Wait_IsLoggedEverMoreSeldom()
    {
        var loggedAt = new List<int>();
        for (var seconds = 0; seconds <= 1300; seconds++)
        {
            if (_reminder.IsDue("down"))
            {
                loggedAt.Add(seconds);
            }

            _time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Equal([0, 5, 15, 35, 75, 155, 315, 615, 915, 1215], loggedAt);
        Assert.Equal(" (1301 s so far)", _reminder.SoFar);
    }

    [Fact]
    public void NewReason_IsLoggedAtOnce_ButTheWaitGoesOn()
    {
        Assert.True(_reminder.IsDue("down"));
        Assert.Equal("", _reminder.SoFar);
        _time.Advance(TimeSpan.FromSeconds(3));
        Assert.False(_reminder.IsDue("down"));
        Assert.True(_reminder.IsDue("full"));
        Assert.Equal(" (3 s so far)", _reminder.SoFar);
    }

    [Fact]
    public void End_IsToldOnce_AndTheNextWaitBeginsAnew()
    {
        Assert.False(_reminder.End());
        Assert.True(_reminder.IsDue("down"));
        Assert.True(_reminder.End());
        Assert.False(_reminder.End());
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(_reminder.IsDue("down"));
        Assert.Equal("", _reminder.SoFar);
    }
}
