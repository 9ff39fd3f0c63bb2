// The replicas: who has which partitions, and how far behind they are.

import { headCell, turned } from "./controls.js";
import { rows, text } from "./dom.js";
import * as format from "./format.js";
import { isAway } from "./state.js";
import { sorted } from "./totals.js";
import { REPLICA_COLUMNS } from "./view.js";

// A replica that stops is gone at once; one that was killed, after 20 s.
const SILENT_MS = 12_000;
const MAX_LAGGING = 6;

const LABELS = ["Replica", "Version", "Running since", "State", "Rows/s", "Partitions", "Behind", "Releasing"];

// These are sorted from A, the others from the largest. Of states, ready is the last.
const NAMES = ["id", "version", "state"];

/** What each column is sorted by. */
const KEYS = {
  id: ({ id }) => natural(id),
  version: ({ version }) => natural(version),
  started: ({ started }) => started,
  state: ({ ready, reasons }) => ready ? undefined : reasons.join("; "),
  rows_per_second: ({ rows_per_second: rate }) => rate,
  partitions: ({ partitions }) => partitions.length,
  behind: ({ partitions }) => sum(partitions, "rows"),
  releasing: ({ revocation }) => revocation?.partitions.length,
};

const STEPS = { flush: "writing their rows", commit: "committing" };

const section = document.getElementById("fleet");

/** Lets the table be sorted. @param view What is asked. */
export function connectFleet(view) {
  section.addEventListener("click", ({ target }) => {
    const column = target.closest("[data-sort]")?.dataset.sort;
    if (column) {
      view.set({ replicas: turned(view.replicas, column, NAMES.includes(column)) });
    }
  });
}

/**
 * Shows who has which partitions: an answer of GET /fleet, or the data of a `fleet` event of GET /stream?state=true. It updates
 * the table in place, so it can be called for each event. Everything is set as text. Unless it is sorted, the service's order stays.
 *
 * A table row per replica: id (that of the one that answers with "(this one)"), version, running since, ready or why not, rows
 * per second, partitions, lag in total with the partitions that are behind ("event_metrics 3: 41 rows · 18 s"), and what a
 * revocation waits for. Cells have the class "behind" where something is behind or not ready, and "spare" where there is nothing.
 * The note counts the replicas and says if some could not be read.
 * @param fleet The answer. @param view What is asked.
 */
export function showFleet(fleet, { replicas: sort }) {
  const table = section.querySelector("table");
  rows(table.tHead, [REPLICA_COLUMNS.map((name, index) => headCell(LABELS[index], name, sort))]);
  const shown = sort === "" ? fleet.replicas : sorted(fleet.replicas, KEYS[sort.replace(/^-/, "")], sort.startsWith("-"));
  rows(table.tBodies[0], shown.map((replica) => line(replica, fleet)));

  const { length } = fleet.replicas;
  text(section.querySelector("[data-note]"), fleet.complete
    ? `${format.count(length)} ${length === 1 ? "replica" : "replicas"}. Others are shown as they last reported, every few seconds.`
    : "Not all replicas are shown: Redis, where they report, cannot be read.");
}

function line(replica, fleet) {
  const { id, version, started, ready, reasons, partitions, revocation } = replica;
  const silent = id === fleet.self ? 0 : fleet.time - replica.seen;
  const why = reasons.join("; ");
  const state = silent > SILENT_MS ? `Last heard from ${format.ago(silent)}` : ready ? "Ready" : `Not ready: ${why}`;
  const held = byTopic(partitions);
  const behind = partitions.length > 0 && isAway(reasons, "Kafka") ? { text: "not known", all: "" } : lag(partitions);
  const released = revocation
    ? `${byTopic(revocation.partitions)}: ${STEPS[revocation.waits_for]}, ${format.duration(Math.max(0, replica.seen - revocation.since))}`
    : "";
  return [
    { tag: "th", scope: "row", text: id === fleet.self ? `${id} (this one)` : id, title: id },
    { text: version.split("+")[0], title: version },
    format.time(started),
    { text: state, title: why, className: ready && silent <= SILENT_MS ? "" : "behind" },
    format.rate(replica.rows_per_second),
    held ? { text: held, title: held } : { text: "none", className: "spare" },
    { text: behind.text, title: behind.all, className: behind.all ? "behind" : partitions.length === 0 ? "spare" : "" },
    released ? { text: released, title: released, className: "behind" } : { text: format.absent, className: "spare" },
  ];
}

/** The lag of all partitions, and of those that are behind, furthest first. */
function lag(partitions) {
  const known = partitions.filter((partition) => partition.rows !== null);
  const late = known.filter((partition) => partition.rows > 0).sort((a, b) => b.rows - a.rows || b.seconds - a.seconds);
  if (late.length === 0) {
    const unknown = partitions.length - known.length;
    return { text: partitions.length === 0 ? format.absent : unknown > 0 ? `not known of ${format.count(unknown)} yet` : "0 rows", all: "" };
  }

  const total = `${amount({ rows: sum(late, "rows"), seconds: Math.max(...late.map(({ seconds }) => seconds)) })} behind`;
  const each = late.map((partition) => `${partition.topic} ${partition.partition}: ${amount(partition)}`);
  const more = late.length - MAX_LAGGING;
  return {
    text: [total, ...each.slice(0, MAX_LAGGING), ...more > 0 ? [`and ${format.count(more)} more partitions`] : []].join("; "),
    all: each.join("; "),
  };
}

/** Text that sorts by the numbers in it: 0.10.0 after 0.9.0. */
const natural = (text) => text.replace(/\d+/g, (digits) => digits.padStart(12, "0"));

const amount = ({ rows: number, seconds }) => `${format.count(number)} ${number === 1 ? "row" : "rows"} · ${format.duration(seconds * 1000)}`;

const sum = (items, name) => items.reduce((total, item) => total + item[name], 0);

/** Partitions by topic, as ranges: "event_metrics 0–2, 5; performance_metrics 1". */
function byTopic(partitions) {
  const topics = new Map();
  for (const { topic, partition } of partitions) {
    topics.set(topic, [...topics.get(topic) ?? [], partition]);
  }

  return [...topics].map(([topic, numbers]) => `${topic} ${ranges(numbers.sort((a, b) => a - b))}`).join("; ");
}

function ranges(numbers) {
  const found = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last && number === last[1] + 1) {
      last[1] = number;
    } else {
      found.push([number, number]);
    }
  }

  return found.map(([from, to]) => from === to ? `${from}` : to === from + 1 ? `${from}, ${to}` : `${from}–${to}`).join(", ");
}
