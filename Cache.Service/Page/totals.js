// The totals of a range, each measure by its roll-up, as the service computes them; and how they have changed since the previous period.

import { backoff, wait } from "./http.js";

const RETRY_MS = 3000;
const MAX_RETRY_MS = 60_000;

// Each window that completes asks again, but not more often than this.
const MIN_MS = 2000;

/** How many dimensions can be named in a request. */
export const MAX_NAMED = 50;

/** How many dimensions are listed. */
const MAX_LISTED = 1000;

export class Totals {
  /** The last answer: `from`, `to`, `windows`, `total` and, by dimension, `values` (of each measure); and the same of the period `before`. */
  answer;

  #type;
  #read;
  #changed;
  #wanted;
  #question;
  #hurry;
  #isBusy = false;

  /** @param type A type as described by types.js. @param read Reads a route. @param changed Called when there is an answer. */
  constructor(type, read, changed) {
    this.#type = type;
    this.#read = read;
    this.#changed = changed;
  }

  /**
   * Asks for totals, unless that has been asked already.
   * @param range { from, to }, either of which may be undefined: the earliest and latest start.
   * @param before The same for the period before; undefined if it is not compared.
   * @param names The dimensions; undefined for all. @param by The measure of which the largest are listed.
   */
  ask(range, before, names, by) {
    const wanted = JSON.stringify({ range, before, names, by });
    const question = JSON.stringify([range.to - range.from, Boolean(before), names, by]);
    if (wanted !== this.#wanted) {
      this.#wanted = wanted;
      this.#answer();
    }

    // What the reader has changed does not wait.
    if (question !== this.#question) {
      this.#question = question;
      this.#hurry?.();
    }
  }

  /** Forgets what was asked. */
  reset() {
    this.#wanted = undefined;
  }

  /** Answers what is wanted, until nothing else is. */
  async #answer() {
    if (this.#isBusy) {
      return;
    }

    this.#isBusy = true;
    for (let wanted, failures = 0; wanted !== this.#wanted && this.#wanted;) {
      wanted = this.#wanted;
      const { range, before, names, by } = JSON.parse(wanted);
      let pause = MIN_MS;
      try {
        // All dimensions of the previous period: those listed now need not have been large.
        const [now, then] = await Promise.all([this.#summary(range, names, by), before && this.#summary(before, names)]);
        failures = 0;
        this.answer = { ...now, before: then, names };
        this.#changed();
      } catch {
        pause = backoff(++failures, RETRY_MS, MAX_RETRY_MS);
        wanted = undefined;
      }

      await Promise.race([wait(pause), new Promise((resolve) => this.#hurry = resolve)]);
    }

    this.#isBusy = false;
  }

  async #summary({ from, to }, names, by) {
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries({ from, to, by, top: by && MAX_LISTED, fields: names?.map(escape).join(",") })) {
      if (value !== undefined) {
        parameters.set(name, value);
      }
    }

    const { measures } = this.#type;
    const values = (answer) => measures.map(({ name }) => answer[name]);
    const answer = await this.#read(`metrics/${this.#type.name}/summary?${parameters}`);
    return {
      from: from ?? answer.first,
      to,
      windows: answer.windows,
      first: answer.first,
      last: answer.last,
      total: values(answer.total),
      values: new Map(answer.dimensions.map(({ dimension, measures: of }) => [dimension, values(of)])),
    };
  }
}

/** The rows of a table of totals: { dimension, values, before }, in the order of a column. Those without a value come last. */
export function ordered({ values, before }, measures, sort, wanted = () => true) {
  const isDown = sort.startsWith("-");
  const column = sort.replace(/^-/, "");
  const [name, isChange] = [column.replace(/\.change$/, ""), column.endsWith(".change")];
  const measure = measures.findIndex((candidate) => candidate.name === name);
  const rows = [...values].filter(([dimension]) => wanted(dimension)).map(([dimension, own]) => ({ dimension, values: own, before: before?.values.get(dimension) }));
  const keyOf = column === "dimension" ? ({ dimension }) => dimension
    : isChange ? (row) => share(row.values[measure], row.before?.[measure]) : (row) => row.values[measure];
  return sorted(rows, keyOf, isDown);
}

/** Sorts by a key; stable, and what has none comes last in either direction. */
export function sorted(rows, keyOf, isDown) {
  const keyed = rows.map((row) => [keyOf(row), row]);
  const compare = (a, b) => a === b ? 0 : a < b ? -1 : 1;
  return keyed.sort(([a], [b]) => a === undefined || b === undefined
    ? (a === undefined) - (b === undefined) : isDown ? compare(b, a) : compare(a, b)).map(([, row]) => row);
}

/** The share by which a value has changed; undefined if that cannot be said. */
const share = (value, before) => value === undefined || !before ? undefined : (value - before) / Math.abs(before);

/** A dimension as a list of them in a request holds it. */
const escape = (name) => name.replace(/[\\,]/g, "\\$&");
