// What the page says about a metric type, and how it shows its measures. Independent of the page.

import * as format from "./format.js";

/** Maximum number of measures that have lines of their own; the others are in the tables. */
const MAX_LINES = 2;

/** The types that are there without configuration. They have words of their own, here and in index.html. */
const USUAL = [
  {
    name: "event",
    dimensions: ["event_type"],
    measures: [
      { name: "count", kind: "count", rollup: "sum", label: "Events" },
      { name: "users", kind: "count", rollup: "max", label: "Users" },
    ],
    words: { subject: "event", dimension: "Type", many: "types", headline: { measure: 0, pick: "sum", label: "events" } },
  },
  {
    name: "performance",
    dimensions: ["device_category"],
    measures: [
      { name: "avg_load_time", kind: "number", unit: "ms", rollup: "mean", label: "Average", title: "Average" },
      { name: "p95_load_time", kind: "number", unit: "ms", rollup: "max", label: "p95", title: "95th percentile" },
    ],
    words: { subject: "load time", dimension: "Device", many: "devices", headline: { measure: 1, pick: "max", label: "slowest p95" } },
  },
];

/**
 * Describes a type of /types.
 * @returns {object} `fields` and `separator`, as in /types; `windowMs`, if all windows have the same length; `isStacked`, or else how many measures have `lines`; `subject`, what
 * its windows are called; `title`, unless index.html has it; the `headline`; `dimension` and `many`, which name one dimension
 * and several; and for each of the `measures` a `label`, the `heading` of a column, which has the unit, `full`, which formats a value
 * with its unit, and `axis`, which describes an axis, given the largest value: its `title` with the unit, and the `format` of its numbers.
 */
export function describe({ name, dimensions, separator, window_seconds: seconds, measures }) {
  const usual = USUAL.find((known) => known.name === name && shape(known) === shape({ dimensions, measures }));
  const isStacked = measures[0].kind === "count";
  const more = measures.findIndex(({ kind }) => kind !== "number");
  return {
    name,
    fields: dimensions,
    separator,
    windowMs: seconds && seconds * 1000,
    isStacked,
    lines: isStacked ? 1 : Math.min(MAX_LINES, more < 0 ? measures.length : more),
    ...usual?.words ?? words(name, dimensions, separator, measures[0]),
    measures: measures.map((measure, index) => labels({ ...measure, ...usual?.measures[index] })),
  };
}

const shape = ({ dimensions, measures }) => JSON.stringify([dimensions, measures.map(({ name, kind, unit, rollup }) => [name, kind, unit, rollup])]);

const spaced = (name) => name.replaceAll("_", " ");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const list = new Intl.ListFormat("en");

/** The headline of a measure: how it is picked from the values of the dimensions, and its label. */
export function headlineOf({ name, label = spaced(name), rollup }, measure) {
  // Across dimensions, too, only what adds up is added.
  const pick = { sum: "sum", min: "min" }[rollup] ?? "max";
  const words = label.charAt(0).toLowerCase() + label.slice(1);
  return { measure, pick, label: pick === "sum" ? words : `${pick === "min" ? "lowest" : "highest"} ${words}` };
}

function words(name, dimensions, separator, measure) {
  return {
    title: capital(`${spaced(name)} by ${list.format(dimensions.map(spaced))}`),
    subject: spaced(name),
    dimension: dimensions.map((field) => capital(spaced(field))).join(` ${separator} `),
    many: "dimensions",
    headline: headlineOf(measure, 0),
  };
}

function labels(measure) {
  const { name, kind, unit } = measure;
  const isDuration = kind === "number" && unit === "ms";
  const label = measure.label ?? capital(spaced(name));
  const title = measure.title ?? label;
  return {
    ...measure,
    label,
    heading: unit ? `${label} ${unit}` : label,
    full: (value) => value === undefined || !unit ? format.number(value) : `${format.number(isDuration && value >= 10 ? Math.round(value) : value)} ${unit}`,
    axis: isDuration ? (top) => durations(title, top) : (top) => ({ title: unit ? `${title} (${unit})` : title, format: format.axis(top) }),
  };
}

function durations(title, top) {
  const { unit, ms } = format.durationUnit(top);
  return { title: `${title} (${unit})`, format: (value) => format.number(value / ms) };
}
