using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Model;

namespace Cache.Service.Decode;

/// <summary>
/// Decodes session rows: a session id and an end time, and whatever else the row says of the session. Not thread-safe.
/// </summary>
internal sealed class SessionDecoder(TimeUnit unit, DimensionTable devices, FutureLimit limit)
{
    /// <summary>Decodes or rejects any row.</summary>
    /// <param name="reader">The reader, at the start of the object.</param>
    /// <exception cref="JsonException">The value is not JSON.</exception>
    public Row Decode(ref Utf8JsonReader reader)
    {
        string? id = null, user = null, device = null;
        long start = 0, end = 0, duration = 0, pages = 0;
        bool hasStart = false, hasDuration = false, hasPages = false;
        var idReason = RejectReason.NoSessionId;
        var endReason = RejectReason.NoEndTime;
        var startReason = RejectReason.None;
        var userReason = RejectReason.None;
        var deviceReason = RejectReason.None;
        var durationReason = RejectReason.None;
        var pagesReason = RejectReason.None;

        // The last of a repeated property counts, so reasons are compared only at the end.
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueIsEscaped && JsonText.HasLoneSurrogate(reader.ValueSpan))
            {
                reader.Skip();
            }
            else if (reader.ValueTextEquals("session_id"u8))
            {
                reader.Read();
                idReason = JsonText.ReadName(ref reader, RejectReason.NoSessionId, RejectReason.BadSessionId, out id);
            }
            else if (reader.ValueTextEquals("end_time"u8))
            {
                reader.Read();
                endReason = JsonTime.Read(ref reader, unit, RejectReason.NoEndTime, RejectReason.BadEndTime, out end);
            }
            else if (reader.ValueTextEquals("start_time"u8))
            {
                reader.Read();
                hasStart = reader.TokenType != JsonTokenType.Null;
                startReason = JsonTime.Read(ref reader, unit, RejectReason.None, RejectReason.BadStartTime, out start);
            }
            else if (reader.ValueTextEquals("user_id"u8))
            {
                reader.Read();
                userReason = JsonText.ReadName(ref reader, RejectReason.None, RejectReason.BadUserId, out user);
            }
            else if (reader.ValueTextEquals("device_category"u8))
            {
                reader.Read();
                deviceReason = JsonText.ReadDimension(ref reader, devices, RejectReason.None, out var dimension);
                device = dimension?.Name;
            }
            else if (reader.ValueTextEquals("duration"u8))
            {
                reader.Read();
                durationReason = JsonNumber.ReadCount(ref reader, out duration, out hasDuration);
            }
            else if (reader.ValueTextEquals("page_count"u8))
            {
                reader.Read();
                pagesReason = JsonNumber.ReadCount(ref reader, out pages, out hasPages);
            }
            else
            {
                reader.Skip();
            }
        }

        // Only white space may follow the object: on anything else the reader throws.
        reader.Read();

        if (endReason == RejectReason.None && limit.IsExceededBy(end))
        {
            endReason = RejectReason.FutureSession;
        }

        if (endReason == RejectReason.None && hasStart && startReason == RejectReason.None && start > end)
        {
            startReason = RejectReason.BadStartTime;
        }

        var reason = idReason != RejectReason.None ? idReason
            : endReason != RejectReason.None ? endReason
            : startReason != RejectReason.None ? startReason
            : userReason != RejectReason.None ? userReason
            : deviceReason != RejectReason.None ? deviceReason
            : durationReason != RejectReason.None ? durationReason
            : pagesReason;

        return reason == RejectReason.None
            ? Row.Of(new Session(id!, end, user, hasStart ? start : null, hasDuration ? duration : null, hasPages ? pages : null, device))
            : Row.Reject(reason);
    }
}
