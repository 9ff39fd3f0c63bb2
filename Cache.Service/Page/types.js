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
      { name: "count", kind: "count", rollup: "sum", label: "Events", column: "Events" },
      { name: "users", kind: "count", rollup: "max", label: "Users", column: "Users" },
    ],
    words: { dimension: "Type", many: "types", headline: { measure: 0, pick: "sum" } },
  },
  {
    name: "performance",
    dimensions: ["device_category"],
    measures: [
      { name: "avg_load_time", kind: "number", unit: "ms", rollup: "mean", label: "Average", column: "Avg ms", title: "Average" },
      { name: "p95_load_time", kind: "number", unit: "ms", rollup: "max", label: "p95", column: "p95 ms", title: "95th percentile" },
    ],
    words: { dimension: "Device", many: "devices", headline: { measure: 1, pick: "max" } },
  },
];

/**
 * Describes a type of /types.
 * @returns {object} `windowMs`, if all windows have the same length; `isStacked`, or else how many measures have `lines`; `title`,
 * `subject` and the headline's label, unless index.html has them; `dimension` and `many`, which name one dimension and several; and
 * for each of the `measures` a `label`, the `column` of a table without units, the `title` of its lines, and what formats it:
 * `full` with the unit, `cell` without, and `axis`.
 */
export function describe({ name, dimensions, separator, window_seconds: seconds, measures }) {
  const usual = USUAL.find((known) => known.name === name && shape(known) === shape({ dimensions, measures }));
  const isStacked = measures[0].kind === "count";
  const more = measures.findIndex(({ kind }) => kind !== "number");
  return {
    name,
    windowMs: seconds && seconds * 1000,
    isStacked,
    lines: isStacked ? 0 : Math.min(MAX_LINES, more < 0 ? measures.length : more),
    ...usual?.words ?? words(name, dimensions, separator, measures[0]),
    measures: measures.map((measure, index) => ({ ...measure, ...usual?.measures[index] ?? labels(measure), ...formats(measure, !usual) })),
  };
}

const shape = ({ dimensions, measures }) => JSON.stringify([dimensions, measures.map(({ name, kind, unit, rollup }) => [name, kind, unit, rollup])]);

const spaced = (name) => name.replaceAll("_", " ");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const list = new Intl.ListFormat("en");

function words(name, dimensions, separator, measure) {
  // Across dimensions, too, only what adds up is added.
  const pick = { sum: "sum", min: "min" }[measure.rollup] ?? "max";
  const label = spaced(measure.name);
  return {
    title: capital(`${spaced(name)} by ${list.format(dimensions.map(spaced))}`),
    subject: spaced(name),
    dimension: dimensions.map((field) => capital(spaced(field))).join(` ${separator} `),
    many: "dimensions",
    headline: { measure: 0, pick, label: pick === "sum" ? label : `${pick === "min" ? "lowest" : "highest"} ${label}` },
  };
}

function labels({ name, unit }) {
  const label = capital(spaced(name));

  // On an axis, durations have units of their own.
  return { label, column: unit ? `${label} ${unit}` : label, title: unit && unit !== "ms" ? `${label} (${unit})` : label };
}

function formats({ kind, unit }, isFine) {
  const isDuration = kind === "number" && unit === "ms";
  const cell = kind === "number" && isFine ? format.number : format.count;
  return {
    full: isDuration ? format.load : (value) => value === undefined || !unit ? cell(value) : `${cell(value)} ${unit}`,
    cell,
    axis: isDuration ? format.duration : format.axis,
  };
}
