// Formats numbers, times and durations, in the reader's own language and time zone.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const decimal = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });
const scientific = new Intl.NumberFormat(undefined, { notation: "scientific", maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const shortClock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export const absent = "–";

/** A count; abbreviated from a million on, so that columns keep their width. */
export const count = (value) => value === undefined ? absent : Math.abs(value) < 1e6 ? whole.format(value) : compact.format(value);

/** A number that need not be whole; abbreviated from a million on, like a count. */
export function number(value) {
  if (value === undefined) {
    return absent;
  }

  const size = Math.abs(value);
  return isExtreme(size) ? scientific.format(value) : size < 1 ? fine.format(value) : size < 1e6 ? decimal.format(value) : compact.format(value);
}

/** A number for an axis. */
export const axis = (value) => isExtreme(Math.abs(value)) ? scientific.format(value) : compact.format(value);

// Otherwise, such a number would have hundreds of digits.
const isExtreme = (size) => size >= 1e15 || size > 0 && size < 1e-6;

/** A rate; below 100 with up to three significant digits. */
export const rate = (value) => value < 100 ? fine.format(value) : count(value);

/** A duration in milliseconds, in the unit that suits it. */
export function duration(ms) {
  if (ms === undefined) {
    return absent;
  }

  const size = Math.abs(ms);
  if (size < 1000) {
    return `${size < 10 ? fine.format(ms) : whole.format(ms)} ms`;
  }

  if (size < 120_000) {
    return `${fine.format(ms / 1000)} s`;
  }

  return size < 7_200_000 ? `${whole.format(ms / 60_000)} min` : `${whole.format(ms / 3_600_000)} h`;
}

/** A load time: in milliseconds while that is readable, so that a column has a single unit. */
export const load = (ms) => ms === undefined || Math.abs(ms) >= 100_000 ? duration(ms) : `${Math.abs(ms) < 10 ? fine.format(ms) : whole.format(ms)} ms`;

/** How long ago something was; in whole seconds up to two minutes. */
export function ago(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  return seconds < 2 ? "just now" : seconds < 120 ? `${seconds} s ago` : `${duration(ms)} ago`;
}

/** The time of day, with the date unless it is today. */
export function time(ms) {
  const date = new Date(ms);
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}

/** The time of day for an axis; with seconds only if windows are shorter than a minute. */
export const tick = (ms, step) => (step % 60_000 === 0 ? shortClock : clock).format(new Date(ms));
