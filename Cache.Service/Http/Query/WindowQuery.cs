using Cache.Service.Model;

namespace Cache.Service.Http.Query;

/// <summary>What is asked of the windows.</summary>
/// <param name="Kind">The type; null for both (<c>/metrics/overview</c>).</param>
/// <param name="Limit">How many windows at most; null for the newest alone, not in a list.</param>
/// <param name="From">The earliest start, milliseconds; null for no bound.</param>
/// <param name="To">The latest start, likewise.</param>
/// <param name="Fields">The dimensions, with commas; null or empty for all.</param>
/// <param name="Csv">Whether as CSV, and not as JSON.</param>
internal readonly record struct WindowQuery(RowKind? Kind, int? Limit, string? Fields, long? From = null, long? To = null, bool Csv = false);
