namespace Cache.Service.Model;

/// <summary>Identifies a window by metric type and start.</summary>
/// <param name="Kind"><see cref="RowKind.Event"/> or <see cref="RowKind.Performance"/>.</param>
/// <param name="Start">Milliseconds since 1970 UTC.</param>
internal readonly record struct WindowKey(RowKind Kind, long Start);
