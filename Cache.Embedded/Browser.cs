using System.ComponentModel;
using System.Diagnostics;

namespace Cache.Embedded;

/// <summary>The user's browser.</summary>
internal static class Browser
{
    /// <summary>Opens a page, as the desktop does it (<c>xdg-open</c>, <c>open</c>, or the shell of Windows).</summary>
    /// <returns>Whether there is something that opens pages.</returns>
    public static bool Open(Uri page)
    {
        try
        {
            using var opened = Listeners.Change(() => Process.Start(new ProcessStartInfo(page.AbsoluteUri) { UseShellExecute = true }));
            return true;
        }
        catch (Exception exception) when (exception is Win32Exception or PlatformNotSupportedException or FileNotFoundException)
        {
            return false;
        }
    }
}
