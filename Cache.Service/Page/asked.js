// What a view asks of one type, answered: its windows, the dimensions that are charted and how, totals, and all that as CSV.

import * as clock from "./clock.js";
import { Tools, headCell, nameCell } from "./controls.js";
import * as csv from "./csv.js";
import { rows, text } from "./dom.js";
import * as format from "./format.js";
import { History } from "./history.js";
import { read } from "./http.js";
import { cutOf } from "./scale.js";
import { MAX_NAMED, Totals, ordered } from "./totals.js";
import { headlineOf } from "./types.js";
import { rangeWindows } from "./view.js";
import { MAX_SHOWN } from "./windows.js";

/** The numbers of slots of a live chart. */
const SLOTS = [15, 30, 60];
const MAX_SLOTS = 3000;

const MAX_LISTED = 200;

const list = new Intl.ListFormat("en");

export class Asked {
  #type;
  #view;
  #history;
  #totals;
  #tools;

  // The number of columns of the table of totals, and how wide they are where there is no room for them; else zero.
  #columns = 0;
  #needed = 0;

  /** @param card The type's card. @param live Its live windows. @param view What is asked. @param changed Called when there is something new to draw. */
  constructor(type, card, live, view, changed) {
    this.#type = type;
    this.#view = view;
    this.#history = new History(type, live, read, changed);
    this.#totals = new Totals(type, read, changed);
    this.#tools = new Tools(card, type, view, () => this.#save());
  }

  /** The settings of the type. */
  get settings() {
    return this.#view.of(this.#type.name);
  }

  /** Merges an update. */
  merge(start, fields) {
    this.#history.merge(start, fields);
  }

  /** Reads everything again: updates may have been missed. */
  reset() {
    this.#history.reset();
    this.#totals.reset();
  }

  /**
   * What is asked, as far as it is known.
   * @returns {object} `windows`, and the `starts`, `length`, `shift`, `from` and `to` of the range (history.js); `slots`, the numbers of slots
   * that its chart may have, and the `plan` of it; the `names` of the dimensions that are charted, and those `listed` beside it; the number of `all` of
   * them; whether one is `wanted`, undefined if all are; and the settings `only`, `text` (what is searched), `sort`, `areTotals` and `isCompared`.
   */
  answer() {
    const shown = this.#history.show(this.#view, clock.now());
    const plan = this.#plan();
    const { find, only } = this.settings;
    const text = find.trim().toLowerCase();
    const ranked = shown.windows.ranked(shown.starts, plan.measures[0]);
    const usual = shown.windows.shown(shown.starts, plan.measures[0]);
    let wanted;
    let found;
    if (only.length > 0) {
      wanted = (name) => only.includes(name);
    } else if (text) {
      wanted = (name) => name.toLowerCase().includes(text);
      found = ranked.filter(wanted);
    }

    const names = only.length > 0 ? only : found ? found.slice(0, MAX_SHOWN).sort() : usual;
    this.shown = {
      ...shown, slots: this.#slots(shown), plan, wanted, found, only, text, names, listed: only.length > 0 ? [...new Set([...usual, ...only])].sort() : names, all: ranked.length,
      sort: this.sort, areTotals: this.#view.totals, isCompared: this.#view.compare,
    };
    this.#tools.show({ style: plan.isStacked ? "columns" : "lines", canStack: plan.canStack, note: this.#note(only, found) });
    return this.shown;
  }

  /** The numbers of slots that the chart may have. A live range has one of a few, so that the chart does not get tighter with each window. */
  #slots({ starts, length, shift }) {
    const count = rangeWindows(this.#view.range);
    if (!this.#view.isFixed && count) {
      return SLOTS.filter((slots) => slots <= count);
    }

    const across = this.#view.isLive && shift ? shift : starts.at(-1) - starts[0] + length;
    const known = [starts.length, Math.min(MAX_SLOTS, Math.ceil(across / length))].filter((slots) => slots > 0).sort((a, b) => a - b);
    return known.length > 0 ? known : SLOTS;
  }

  /** Whether windows are being waited for. */
  get isLoading() {
    return this.#history.isLoading;
  }

  /** Why there is no window to show. */
  get none() {
    const { from, to } = this.shown;
    return this.#history.isLoading ? "Loading …" : from === undefined && to === undefined ? "" : "No windows in this range";
  }

  /** What has to be known of the range: what is missing. */
  get remarks() {
    const { starts, from, length } = this.shown;
    return this.#history.isLoading ? ["Loading …"]
      : this.#history.isPart ? [`Only the newest ${format.count(starts.length)} windows of the range`]
        : starts.length > 0 && from !== undefined && starts[0] - from > (length ?? 0) ? [`There are no windows before ${format.time(starts[0], clock.now())}`] : [];
  }

  /** The headline: which `measure`, how it is picked from the dimensions, and its `label`. That of the measure chosen, if there is one. */
  get headline() {
    const { measures, headline } = this.#type;
    const index = measures.findIndex(({ name }) => name === this.settings.measure);
    return index < 0 || index === headline.measure ? headline : headlineOf(measures[index], index);
  }

  /** The total of the range in place of the headline of a window, if totals are shown: its `value`, the one `before`, and `words` for what it is. */
  get total() {
    const { answer } = this.#totals;
    const { measure, pick } = this.headline;
    return !this.#view.totals || !answer || answer.windows === 0 || this.#type.measures[measure].rollup !== pick ? undefined : {
      value: answer.total[measure],
      before: answer.before?.total[measure],
      words: answer.before?.windows > 0 ? "vs previous period" : timesOf(answer, this.shown.length),
    };
  }

  /** Which measures are charted, and how. */
  #plan() {
    const { measures, isStacked, lines } = this.#type;
    const { measure, style } = this.settings;
    const index = measures.findIndex(({ name }) => name === measure);
    const charted = index >= 0 ? [index] : isStacked ? [0] : Array.from({ length: lines }, (_, line) => line);

    // Columns stand on each other, so they are for what adds up.
    const first = measures[charted[0]];
    const canStack = charted.length === 1 && (first.rollup === "sum" || index < 0 && isStacked);
    const isLog = this.#view.scale === "log";
    return {
      measures: charted,
      canStack: canStack && !isLog,
      isStacked: canStack && !isLog && (style ? style === "columns" : first.kind === "count"),
      scale: this.#view.scale,
    };
  }

  /** Where the value axis ends, for the values of each slot; undefined for all of them. */
  cut(values) {
    return this.#view.scale === "auto" ? cutOf(values) : undefined;
  }

  #note(only, found) {
    const { many } = this.#type;
    if (only.length > 0) {
      return `Only ${list.format(only)}.`;
    }

    return !found ? "" : found.length === 0 ? `No ${many} found.`
      : `${format.count(found.length)} ${found.length === 1 ? many.slice(0, -1) : many} found${found.length > MAX_SHOWN ? `; the largest ${MAX_SHOWN} are charted` : ""}.`;
  }

  /** Shows the totals of the complete windows of the range in a table, if they are asked for. */
  showTotals(table, note, mark) {
    const { starts, length, shift, from, found, wanted } = this.shown;
    const complete = length ? starts.filter((start) => start + length <= clock.now()) : starts;
    const last = complete.at(-1);
    if (last === undefined) {
      rows(table.tHead, []);
      rows(table.tBodies[0], []);
      rows(table.tFoot, []);
      text(note, this.none || "No complete window yet");
      return;
    }

    const { compare, isFixed, range: name } = this.#view;
    const first = from === undefined || this.#history.isPart ? complete[0] : isFixed ? from : last - shift + (length ?? 0);
    const isAll = name === "all" && !isFixed;
    const range = { from: isAll ? undefined : first, to: last };
    const span = last - first + (length ?? 0);
    const { only } = this.settings;
    const names = only.length > 0 ? only : found && found.length <= MAX_NAMED ? found : undefined;
    const { measures } = this.#type;
    const sort = this.sort;
    const by = measures.find((measure) => sort.replace(/^-/, "").replace(/\.change$/, "") === measure.name)?.name ?? measures[0].name;
    this.#totals.ask(range, compare && !isAll ? { from: first - span, to: first - 1 } : undefined, names && names.length > 0 ? names : undefined, by);
    const answer = this.#totals.answer;
    if (!answer) {
      text(note, "Loading …");
      return;
    }

    const isCompared = answer.before !== undefined;
    table.classList.toggle("compared", isCompared);
    rows(table.tHead, [[
      headCell(this.#type.dimension, "dimension", sort),
      ...measures.flatMap(({ name: column, label, heading, rollup }) => [
        headCell(`${heading} (${rollup})`, column, sort),
        ...isCompared ? [headCell("Change", `${column}.change`, sort, { title: `Change of ${label} since the previous period` })] : [],
      ]),
    ]]);
    const all = ordered(answer, measures, sort, wanted);
    const listed = all.slice(0, MAX_LISTED);
    const cells = measures.map((_, measure) => format.column([...listed.map(({ values }) => values[measure]), answer.total[measure]]));
    const line = (values, before) => cells.flatMap((cell, measure) => [
      cell(values[measure]),
      ...isCompared ? [{ text: answer.before.windows === 0 ? format.absent : changeText(values[measure], before?.[measure], cell), className: "change" }] : [],
    ]);
    rows(table.tBodies[0], listed.map(({ dimension, values, before }) => [
      nameCell(dimension, mark(dimension), only),
      ...line(values, before),
    ]));
    rows(table.tFoot, [[
      { tag: "th", scope: "row", text: answer.names ? "All shown" : `All ${this.#type.many}` },
      ...line(answer.total, answer.before?.total),
    ]]);
    this.#fit(table);
    text(note, [
      `${countOf(answer.windows, "complete window")}${spanOf(answer, length)}`,
      ...!isCompared ? [] : [answer.before.windows === 0 ? "There are no windows in the previous period"
        : `Previous period: ${countOf(answer.before.windows, "window")}${spanOf(answer.before, length)}`],
      ...all.length > MAX_LISTED ? [`${format.count(all.length - MAX_LISTED)} more ${this.#type.many}; find them by name`] : [],
    ].map((sentence) => `${sentence}.`).join(" "));
  }

  /** Makes a list of a table that has no room for its columns, until there is room again. */
  #fit(table) {
    const columns = table.tHead.rows[0].cells.length;
    const room = table.parentElement.clientWidth;
    if (columns !== this.#columns || room >= this.#needed) {
      [this.#columns, this.#needed] = [columns, 0];
      table.classList.remove("tight");
    }

    if (this.#needed === 0 && table.scrollWidth > room) {
      this.#needed = table.scrollWidth;
      table.classList.add("tight");
    }
  }

  /** The order of the numbers. Where it matters what got worse, that comes first: by the first measure, which no single window decides. */
  get sort() {
    const { measures: [{ name }], isStacked } = this.#type;
    return this.settings.sort || (!this.#view.totals ? "" : this.#view.compare && !isStacked ? `-${name}.change` : `-${name}`);
  }

  #save() {
    const { starts, windows, wanted = () => true } = this.shown;
    const isTotals = this.#view.totals && this.#totals.answer;
    const times = isTotals ? [this.#totals.answer.first, this.#totals.answer.last] : [starts[0], starts.at(-1)];
    const name = [this.#type.name, ...isTotals ? ["totals"] : [], ...times.filter((ms) => ms !== undefined).map((ms) => csv.time(ms).replaceAll(":", "").replace(" ", "T"))].join("-");
    csv.save(`${name}.csv`, isTotals
      ? csv.ofTotals(this.#type, this.#totals.answer, ordered(this.#totals.answer, this.#type.measures, this.sort, wanted))
      : csv.ofWindows(this.#type, windows, starts, wanted));
  }
}

const countOf = (count, noun) => `${format.count(count)} ${noun}${count === 1 ? "" : "s"}`;

/** From the start of the first window to the end of the last one. */
const timesOf = ({ first, last }, length = 0) => `${format.time(first, clock.now())} to ${format.time(last + length, clock.now())}`;

const spanOf = (answer, length) => answer.windows === 0 ? "" : `, ${timesOf(answer, length)}`;

/** A change: by how much, and by how many percent. */
function changeText(value, before, cell) {
  if (value === undefined || before === undefined) {
    return value === undefined ? format.absent : "new";
  }

  const sign = value > before ? "+" : value < before ? "−" : "±";
  const percent = format.change(value, before);
  return `${sign}${cell(Math.abs(value - before))}${percent && value !== before ? ` (${percent})` : ""}`;
}
