// Formats numbers, times and durations in the page's language, and in the zone that the reader has chosen.

// The language of index.html.
const LANGUAGE = "en";

const whole = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(LANGUAGE, { maximumSignificantDigits: 3 });
const one = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat(LANGUAGE, { notation: "compact", maximumSignificantDigits: 3 });
const scientific = new Intl.NumberFormat(LANGUAGE, { notation: "scientific", maximumSignificantDigits: 3 });

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// From this many on, a unit is used.
const UNITS = [
  { unit: "h", ms: HOUR, from: 2 * HOUR },
  { unit: "min", ms: MINUTE, from: 2 * MINUTE },
  { unit: "s", ms: SECOND, from: SECOND },
  { unit: "ms", ms: 1, from: -Infinity },
];

// What two labels of an axis may be apart.
const TICKS = [
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR),
  ...[1, 2, 7, 14, 28, 91, 364].map((days) => days * DAY),
];

const MAX_TICKS = 6;

let zone = "local";
let dates;
setZone(zone);

export const absent = "–";

/** Sets the zone of all times: "utc" or "local". */
export function setZone(name) {
  zone = name;
  const format = (parts) => new Intl.DateTimeFormat(LANGUAGE, { ...parts, hourCycle: "h23", timeZone: name === "utc" ? "UTC" : undefined });
  dates = {
    seconds: format({ hour: "2-digit", minute: "2-digit", second: "2-digit" }),
    minutes: format({ hour: "2-digit", minute: "2-digit" }),
    day: format({ day: "numeric", month: "short" }),
    date: format({ day: "numeric", month: "short", year: "numeric" }),
    year: format({ year: "numeric" }),
  };
}

/** What the zone is called: "UTC", or such as "Europe/Berlin". */
export const zoneName = () => dates.day.resolvedOptions().timeZone;

/** A count for a tile or a note; abbreviated from a million on. */
export const count = (value) => value === undefined ? absent : Math.abs(value) < 1e6 ? whole.format(value) : compact.format(value);

/** A number, exact to two decimals, or to three digits if it is below 0.01. */
export const number = (value) => value === undefined ? absent : plain([value])(value);

/** A column of numbers: each exact to two decimals, and all with the same number of them. @param values Those of the column. */
export function column(values) {
  const format = plain(values.filter((value) => value !== undefined));
  return (value) => value === undefined ? absent : format(value);
}

function plain(values) {
  const isFine = values.some((value) => value !== 0 && Math.abs(value) < 0.01);
  const digits = isFine ? undefined : Math.max(0, ...values.map((value) => decimals(value)));
  const format = isFine ? fine : new Intl.NumberFormat(LANGUAGE, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return (value) => isExtreme(Math.abs(value)) ? scientific.format(value) : isFine && Math.abs(value) >= 1 ? two.format(value) : format.format(value);
}

const two = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 2 });
const decimals = (value) => isExtreme(Math.abs(value)) || Number.isInteger(value) ? 0 : Number.isInteger(Math.round(value * 100) / 10) ? 1 : 2;

// Otherwise, such a number would have hundreds of digits.
const isExtreme = (size) => size >= 1e15 || size > 0 && size < 1e-6;

/** The numbers of an axis, in one unit. @param top The largest of them. @returns {(value: number) => string} */
export function axis(top) {
  const [size, unit] = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e4, "K"]].find(([from]) => top >= from && top < 1e15) ?? [1, ""];
  const divisor = size === 1e4 ? 1000 : size;
  return (value) => isExtreme(Math.abs(value)) ? scientific.format(value) : value === 0 ? "0" : `${two.format(value / divisor)}${unit}`;
}

/** The unit in which the durations of an axis are readable. @param top The longest, in milliseconds. @returns {{ unit: string, ms: number }} */
export const durationUnit = (top) => suitable(top / 2);

/** A rate; below 100 with up to three significant digits. */
export const rate = (value) => value < 100 ? fine.format(value) : count(value);

/** A duration in milliseconds, in the unit that suits it. */
export function duration(ms) {
  if (ms === undefined) {
    return absent;
  }

  const { unit, ms: size } = suitable(ms);
  return `${(size <= SECOND && Math.abs(ms) / size < 120 ? fine : whole).format(ms / size)} ${unit}`;
}

/** A duration in milliseconds as on a stopwatch, for columns: "0:07", "12:34", "1:02:03". */
export function stopwatch(ms) {
  if (ms === undefined) {
    return absent;
  }

  const [hours, minutes, seconds] = [Math.floor(ms / HOUR), Math.floor(ms / MINUTE) % 60, Math.floor(ms / SECOND) % 60];
  const padded = (value) => String(value).padStart(2, "0");
  return hours > 0 ? `${hours}:${padded(minutes)}:${padded(seconds)}` : `${minutes}:${padded(seconds)}`;
}

const suitable = (ms) => UNITS.find(({ from }) => Math.abs(ms) >= from);

/** How long windows are: "5 s", "1 h", "1 day". */
export function length(ms) {
  const [unit, size] = [["day", DAY], ["h", HOUR], ["min", MINUTE], ["s", SECOND]].find(([, size]) => ms % size === 0) ?? ["s", SECOND];
  return `${two.format(ms / size)} ${unit}${unit === "day" && ms > DAY ? "s" : ""}`;
}

/** How long something has lasted; in whole seconds up to two minutes. */
export function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / SECOND));
  return seconds < 120 ? `${seconds} s` : ms < 2 * DAY ? duration(ms) : `${whole.format(ms / DAY)} days`;
}

/** How long ago something was. */
export const ago = (ms) => ms < 2 * SECOND ? "just now" : `${age(ms)} ago`;

/** By how much a value has changed: "+12%"; empty if that cannot be said. */
export function change(value, before) {
  if (value === undefined || before === undefined || before === 0) {
    return "";
  }

  const percent = (value - before) / Math.abs(before) * 100;
  const size = Math.abs(percent) < 9.95 ? one.format(Math.abs(percent)) : whole.format(Math.abs(percent));
  return size === "0" ? "±0%" : `${percent > 0 ? "+" : "−"}${size}%`;
}

/** The time of day, with the date unless it is today, and the year unless it is this one. @param now Today. */
export function time(ms, now = Date.now()) {
  return dates.date.format(ms) === dates.date.format(now) ? dates.seconds.format(ms) : `${date(ms, now)}, ${dates.seconds.format(ms)}`;
}

const date = (ms, now) => (dates.year.format(ms) === dates.year.format(now) ? dates.day : dates.date).format(ms);

/** When a window starts: like {@link time}, but only the date if windows are as long as days. @param length Their length, if known. */
export function start(ms, length, now) {
  return length % DAY === 0 && (ms - offset(ms)) % DAY === 0 ? date(ms, now) : time(ms, now);
}

/**
 * The labels of a time axis: at most six, at round times, so that each stays with its window; the date at midnight, and where it
 * would otherwise be unknown.
 * @param starts Window starts, oldest first. @param step The usual interval between them; undefined if there is none.
 * @returns {string[]} One for each start; empty where there is none.
 */
export function ticks(starts, step) {
  const known = starts.filter((start) => start !== undefined);
  if (known.length === 0) {
    return [];
  }

  const span = known.at(-1) - known[0];
  const apart = TICKS.find((tick) => tick >= (step ?? 0) && span / tick <= MAX_TICKS) ?? Math.ceil(span / MAX_TICKS / DAY) * DAY;
  const isRound = (start) => (start - offset(start)) % apart === 0;

  // Windows that do not start at round times: every few, counted from the newest.
  const every = Math.ceil(starts.length / MAX_TICKS);
  const isRegular = known.filter(isRound).length >= Math.min(2, known.length);
  const isLabelled = (start, index) => start !== undefined && (isRegular ? isRound(start) : (starts.length - 1 - index) % every === 0);
  const clock = apart % MINUTE === 0 && known.every((start) => start % MINUTE === 0) ? dates.minutes : dates.seconds;
  const isMidnight = (start) => (start - offset(start)) % DAY === 0;
  return starts.map((start, index) => !isLabelled(start, index) ? ""
    : apart >= DAY || isMidnight(start) && span > HOUR ? dates.day.format(start) : clock.format(start));
}

/** By how much the zone is behind UTC. */
const offset = (ms) => zone === "utc" ? 0 : new Date(ms).getTimezoneOffset() * MINUTE;
