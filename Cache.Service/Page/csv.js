// CSV of what is shown, in the same form as the service's own (RFC 4180): times in UTC and in milliseconds, and no cell that a
// spreadsheet would take for a formula. Independent of the page.

/** The last millisecond of the year 9999. */
const LATEST = 253402300799999;

/** A cell: quoted where necessary, and harmless in a spreadsheet. As in Http/Query/WindowsCsv.cs. */
export function cell(value) {
  if (value === undefined || typeof value === "number") {
    return value === undefined ? "" : String(value);
  }

  const text = /^[=+\-@\t\r\n＝＋－＠]/.test(value) ? `'${value}` : value;
  return /[",\r\n;]|^ | $/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A time in UTC, as spreadsheets read it. */
export const time = (ms) => ms === undefined || ms < 0 || ms > LATEST ? "" : new Date(ms).toISOString().replace("T", " ").replace(/(\.000)?Z$/, "");

const file = (lines) => lines.map((cells) => `${cells.join(",")}\r\n`).join("");

/** Windows, newest first: one line per window and dimension. @param wanted Which dimensions are shown. */
export function ofWindows(type, windows, starts, wanted) {
  return file([
    ["window_start", "window_start_ms", cell(dimensionOf(type)), ...type.measures.map(({ name }) => name)],
    ...[...starts].reverse().flatMap((start) => windows.dimensions(start).filter(wanted).map((dimension) =>
      [time(start), start, cell(dimension), ...windows.values(start, dimension).map(cell)])),
  ]);
}

/** Totals, in the order of the table. @param rows From totals.js. */
export function ofTotals(type, { from, to, before }, rows) {
  const columns = type.measures.flatMap(({ name, rollup }) => [`${name}_${rollup}`, ...before ? [`${name}_${rollup}_before`] : []]);
  return file([
    ["from", "from_ms", "to", "to_ms", cell(dimensionOf(type)), ...columns],
    ...rows.map(({ dimension, values, before: then }) => [
      time(from), cell(from), time(to), cell(to), cell(dimension),
      ...values.flatMap((value, measure) => [cell(value), ...before ? [cell(then?.[measure])] : []]),
    ]),
  ]);
}

/** Hands a file to the browser to save. */
export function save(name, text) {
  // With the mark by which spreadsheets recognize UTF-8.
  const address = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  Object.assign(document.createElement("a"), { href: address, download: name }).click();

  // Not at once: the browser may not have begun to read it.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

const dimensionOf = ({ fields, separator }) => fields.join(separator ?? "");
