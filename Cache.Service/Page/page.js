// Renders what the feed delivers into the elements of index.html.

import { LinesChart, StackChart, look } from "./charts.js";
import { rows, text } from "./dom.js";
import { Feed } from "./feed.js";
import * as format from "./format.js";
import { describe } from "./types.js";
import { MAX_SHOWN, MAX_WINDOWS, Windows, places } from "./windows.js";

const DRAW_MS = 250;
const STALE_MS = 4000;
const IDLE_MS = 60_000;
const MAX_TABLE_WINDOWS = 8;
const MAX_LISTED = 200;

const byId = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 40rem)");
const dark = matchMedia("(prefers-color-scheme: dark)");

/** The cards of a type that index.html has no words for are copies of those of one that it has. */
const patterns = Object.fromEntries(["type", "windows"].map((role) => [role, document.querySelector(`[data-${role}=event]`).cloneNode(true)]));

function card(role, name, title) {
  if (title === undefined) {
    return document.querySelector(`[data-${role}=${name}]`);
  }

  const copy = patterns[role].cloneNode(true);
  copy.dataset[role] = name;
  copy.classList.add("wide");
  const heading = copy.querySelector("h2");
  text(heading, title);

  // With a prefix, because a type may be called "key" or "empty".
  heading.id = `type-${name}-${role}-title`;
  for (const labelled of [copy, ...copy.querySelectorAll("[aria-labelledby]")]) {
    labelled.setAttribute("aria-labelledby", heading.id);
  }

  return copy;
}

/** One metric type: its windows, and the cards that show them. */
class Panel {
  /** @param type A type as described by types.js. */
  constructor(type) {
    const { name, title, subject, headline, dimension, measures } = type;
    this.type = type;
    this.windows = new Windows(measures.map((measure) => measure.name));
    this.card = card("type", name, title);
    this.tableCard = card("windows", name, title && `Latest ${subject} windows`);
    this.table = this.tableCard.querySelector("table");
    this.card.append(byId("numbers").content.cloneNode(true));
    this.legend = this.card.querySelector(".legend");
    if (title !== undefined) {
      this.card.querySelector(".chart").ariaLabel = `Window of the ${subject} chart`;
      text(this.card.querySelector(".big small"), headline.label);

      // There may be more columns than fit.
      const scroll = Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Numbers of the selected window" });
      this.legend.replaceWith(scroll);
      scroll.append(this.legend);
    }

    for (const head of this.card.querySelectorAll("thead")) {
      rows(head, [[dimension, ...measures.map(({ label }) => label)].map((column) => ({ tag: "th", scope: "col", text: column }))]);
    }

    this.find = this.card.querySelector("input");
    this.find.addEventListener("input", draw);
    this.card.querySelector("details").addEventListener("toggle", draw);
  }

  draw(look, fromScratch) {
    const { windows, type } = this;
    const isNew = !this.chart;

    // Not earlier, because a chart that is not visible has no size.
    this.chart ??= new (type.isStacked ? StackChart : LinesChart)(this.card.querySelector(".chart"), (index) => {
      this.selected = index;
      draw();
    });

    const starts = windows.starts;
    const shown = windows.shown;
    const axis = places(starts, narrow.matches ? [15, 30] : [15, 30, MAX_WINDOWS]);
    const length = type.windowMs ?? axis.step;
    const openFrom = length ? axis.starts.findIndex((start) => start + length > serverTime()) : -1;
    const index = axis.starts[this.selected] === undefined ? axis.starts.length - 1 : this.selected;
    const start = axis.starts[index];
    const series = shown.map((name, place) => ({ name, color: look.series(place) }));
    const others = windows.dimensionCount - shown.length;

    const view = { axis, series, others, openFrom: openFrom < 0 ? Infinity : openFrom, look, fromScratch: fromScratch || isNew, start };
    type.isStacked ? this.#showStack(view) : this.#showLines(view);

    const { measure, pick } = type.headline;
    const headline = start === undefined ? undefined : pick === "sum" ? windows.total(start, measure) : windows.extreme(start, measure, pick);
    this.part("total", type.measures[measure].full(headline));

    const notes = [index === axis.starts.length - 1 ? "newest" : "", openFrom >= 0 && index >= openFrom ? "still filling" : ""].filter(Boolean);
    this.part("at", start === undefined ? "" : format.time(start)).dateTime = start === undefined ? "" : new Date(start).toISOString();
    const none = loaded ? "No windows yet" : "Loading …";
    this.part("note", start === undefined ? none : notes.join(", "));
    this.chart.describe(index, start === undefined ? none : [format.time(start), ...notes, this.card.querySelector(".big").textContent].join(", "));
    this.#drawAll(start, others);
    this.#drawTable(starts, series);
  }

  #showStack({ axis, series, others, openFrom, look, fromScratch, start }) {
    const { windows } = this;
    const { measures } = this.type;
    const charted = new Set(series.map(({ name }) => name));
    const isOther = (name) => !charted.has(name);
    const layers = series.map(({ name, color }) => ({ name, color, values: axis.starts.map((at) => windows.values(at, name)[0]) }));
    if (others > 0) {
      layers.push({ name: "\0others", color: look.others, values: axis.starts.map((at) => windows.total(at, 0, isOther)) });
    }

    this.chart.render(axis, layers, openFrom, look, fromScratch);
    rows(this.legend.tBodies[0], [
      ...series.map(({ name, color }) => this.#line(start, name, color)),
      ...others > 0
        ? [[
          { tag: "th", scope: "row", text: `${format.count(others)} others`, color: look.others },
          ...measures.map(({ rollup, full }, measure) => rollup === "sum" ? full(windows.total(start, measure, isOther)) : ""),
        ]]
        : [],
    ]);
  }

  #showLines({ axis, series, look, fromScratch, start }) {
    const { windows } = this;
    const measures = this.type.measures.slice(0, this.type.lines);
    const lines = series.map(({ name, color }) => ({
      name, color, values: measures.map((_, measure) => axis.starts.map((at) => windows.values(at, name)[measure])),
    }));
    this.chart.render(axis, measures, lines, look, fromScratch);
    rows(this.legend.tBodies[0], series.map(({ name, color }) => this.#line(start, name, color)));
  }

  /** A table row: the dimension, and its values in a window. */
  #line(start, name, color) {
    const values = this.windows.values(start, name);
    return [{ tag: "th", scope: "row", text: name, title: name, color }, ...this.type.measures.map(({ full }, measure) => full(values[measure]))];
  }

  /** Lists all dimensions, if there are more than colours: those that match the search, up to a readable number. */
  #drawAll(start, others) {
    const all = this.card.querySelector("details");
    all.hidden = others === 0;
    if (all.hidden) {
      return;
    }

    const title = `All ${format.count(others + MAX_SHOWN)} ${this.type.many}`;
    text(all.querySelector("summary"), title);
    all.querySelector(".scroll").ariaLabel = title;
    if (all.open) {
      const wanted = this.find.value.trim().toLowerCase();
      const found = this.windows.dimensions(start).filter((name) => name.toLowerCase().includes(wanted));
      rows(all.querySelector("tbody"), found.slice(0, MAX_LISTED).map((name) => this.#line(start, name, "transparent")));
      this.part("more", found.length > MAX_LISTED ? `${format.count(found.length - MAX_LISTED)} more; type to find them.` : found.length === 0 ? "No match in this window." : "");
    }
  }

  /** The chart's numbers as a table, newest window first. */
  #drawTable(starts, series) {
    const { measures } = this.type;
    const apart = (column) => column === 0 ? "apart" : "";
    rows(this.table.tHead, [
      [{ tag: "th", scope: "col", text: "Window" },
        ...series.map(({ name, color }) => ({ tag: "th", scope: "colgroup", text: name, title: name, color, span: measures.length, className: "group apart" }))],
      [{ tag: "td", text: "" },
        ...series.flatMap(() => measures.map(({ column }, measure) => ({ tag: "th", scope: "col", text: column, className: apart(measure) })))],
    ]);
    rows(this.table.tBodies[0], starts.slice(-MAX_TABLE_WINDOWS).reverse().map((start) => [
      { tag: "th", scope: "row", text: format.time(start) },
      ...series.flatMap(({ name }) => this.windows.values(start, name).map((value, measure) => ({ text: measures[measure].cell(value), className: apart(measure) }))),
    ]));
  }

  part(name, value) {
    const element = this.card.querySelector(`[data-${name}]`);
    text(element, value);
    return element;
  }
}

/** The service's clock, if known: it decides whether a window has ended. */
let clockAhead = 0;
const serverTime = () => Date.now() + clockAhead;

let rowsBefore;

function showPipeline() {
  const { pipeline } = feed;
  if (!pipeline) {
    return;
  }

  clockAhead = pipeline.time - Date.now();
  const sum = (values) => Object.values(values).reduce((total, value) => total + value, 0);
  const consumed = sum(pipeline.rows);
  if (rowsBefore?.instance === pipeline.instance && pipeline.time > rowsBefore.time) {
    tile("rate", `${format.rate((consumed - rowsBefore.rows) * 1000 / (pipeline.time - rowsBefore.time))} /s`);
  }

  // Averaged over a few seconds, so that a single flush does not make it jump.
  if (rowsBefore?.instance !== pipeline.instance || pipeline.time - rowsBefore.time > 5000) {
    rowsBefore = { instance: pipeline.instance, time: pipeline.time, rows: consumed };
  }

  tile("rate-note", `${format.count(consumed)} since start`);

  const known = pipeline.lag.filter((partition) => partition.rows !== null);
  const lag = known.reduce((total, partition) => total + partition.rows, 0);
  const behind = Math.max(0, ...known.map((partition) => partition.seconds));
  tile("lag", known.length === 0 ? format.absent : `${format.count(lag)} ${lag === 1 ? "row" : "rows"}`);
  tile("lag-note", known.length === 0 ? "no partitions" : behind === 0 ? "up to date" : `${format.duration(behind * 1000)} behind`);

  tile("queue", `${format.count(pipeline.queue.rows)} of ${format.count(pipeline.queue.most)}`, pipeline.queue.rows >= pipeline.queue.most ? "warn" : "");
  tile("queue-note", `${format.count(pipeline.pending)} not committed`);

  const flush = pipeline.last_flush;
  tile("flush", flush ? format.ago(pipeline.time - flush.time) : format.absent);
  tile("flush-note", flush ? `${format.count(flush.rows)} ${flush.rows === 1 ? "row" : "rows"} in ${format.duration(flush.seconds * 1000)}` : "none yet");

  const letters = sum(pipeline.dead_letters);
  const worst = Object.entries(pipeline.dead_letters).sort((a, b) => b[1] - a[1]).map(([reason, number]) => `${format.count(number)} ${reason}`).join(", ");
  tile("letters", format.count(letters), letters > 0 ? "warn" : "");
  tile("letters-note", letters === 0 ? "since start" : worst, "", worst);

  showPartitions(pipeline.lag);
  text(byId("replica"), `Pipeline figures: replica ${pipeline.instance}`);
  showSessions(pipeline);
  showEmpty(pipeline);
}

function showSessions({ time }) {
  byId("sessions").hidden = !feed.sessions;
  const lines = (feed.sessions ?? []).map((session) => [
    { tag: "th", scope: "row", text: session.session_id, title: session.session_id },
    { text: session.user_id ?? format.absent, title: session.user_id },
    { text: session.device_category ?? format.absent, title: session.device_category },
    format.count(session.page_count),
    format.duration(session.duration),
    format.ago(time - session.end_time),
  ]);
  rows(byId("sessions").querySelector("tbody"), lines.length > 0 ? lines : [[{ text: "No active sessions", span: 6, className: "spare" }]]);
}

/** One row per topic, one column per partition. */
function showPartitions(lag) {
  const table = byId("partitions").querySelector("table");
  const topics = [...new Set(lag.map((partition) => partition.topic))];
  const numbers = [...new Set(lag.map((partition) => partition.partition))].sort((a, b) => a - b);
  rows(table.tHead, [[
    { tag: "th", scope: "col", text: numbers.length === 0 ? "This replica has no partitions." : "Topic" },
    ...numbers.map((number) => ({ tag: "th", scope: "col", text: String(number) })),
  ]]);
  rows(table.tBodies[0], topics.map((topic) => [
    { tag: "th", scope: "row", text: topic },
    ...numbers.map((number) => {
      const partition = lag.find((candidate) => candidate.topic === topic && candidate.partition === number);
      return !partition || partition.rows === null
        ? { text: format.absent, className: "spare" }
        : partition.rows === 0 ? "0" : { text: `${format.count(partition.rows)} · ${format.duration(partition.seconds * 1000)}`, className: "behind" };
    }),
  ]));
}

function tile(id, value, tone = "", title = "") {
  const element = byId(id);
  text(element, value);
  element.dataset.tone = tone;
  element.title = title;
}

/** Before the first window, shows how to send one, as soon as it would arrive. */
function showEmpty({ kafka, ready }) {
  const isEmpty = loaded && panels.every(({ windows }) => windows.isEmpty);
  byId("empty").hidden = !isEmpty;
  byId("empty-how").hidden = !ready;
  byId("empty-wait").hidden = ready;
  byId("charts").hidden = byId("tables").hidden = isEmpty || (!loaded && !ready);
  if (isEmpty && !byId("empty-kcat").textContent) {
    const row = { window_start: Math.floor(serverTime() / 60_000) * 60_000, event_type: "page_view", event_count: 12, user_count: 5 };
    text(byId("empty-simulator"), `dotnet run --project Cache.Producer.Simulator -- --ConnectionStrings:kafka ${kafka}`);
    text(byId("empty-kcat"), `echo '${JSON.stringify(row)}' | kcat -P -b ${kafka} -t event_metrics`);
  }
}

/** When the windows shown were last known to be current. */
let currentAt;

/** Judges how far the numbers can be trusted: a tone, what is wrong, whether they are stale, and a short form for the title. */
function judge(now) {
  const { pipeline } = feed;
  if (feed.isRefused) {
    return ["warn", "The service requires an API key.", false, "key required"];
  }

  const shownAt = currentAt ?? feed.answeredAt;
  const showing = shownAt ? ` Showing data from ${format.time(shownAt)}.` : "";
  if (now - (feed.answeredAt ?? startedAt) > STALE_MS) {
    return ["bad", `The service does not answer.${showing}`, true, "no answer"];
  }

  if (!pipeline) {
    return ["quiet", "Connecting …", false, "connecting"];
  }

  if (!pipeline.ready) {
    const isRedis = pipeline.reasons.some((reason) => reason.startsWith("Redis"));
    const why = `Not ready: ${sentence(pipeline.reasons)}`;
    return isRedis
      ? ["bad", loaded ? why + showing : why, true, "Redis down"]
      : ["warn", why, false, "not ready"];
  }

  if (feed.isTypeless) {
    return ["warn", "The types of windows cannot be read; retrying.", false, "loading"];
  }

  if (now - (feed.openAt ?? startedAt) > STALE_MS) {
    return ["warn", "The stream is interrupted; reconnecting.", true, "interrupted"];
  }

  return ["good", feed.updatedAt && now - feed.updatedAt > IDLE_MS ? "Ready, idle." : loaded && panels.every(({ windows }) => windows.isEmpty) ? "Ready, waiting for the first row." : "Live.", false, ""];
}

const sentence = (reasons) => `${reasons.join("; ").replace(/\.$/, "")}.`;

function showState() {
  const now = Date.now();
  const [tone, words, isStale, short] = judge(now);
  if (loaded && !isStale && !feed.isRefused) {
    currentAt = feed.answeredAt;
  }

  byId("state").dataset.tone = tone;
  text(byId("state-text"), words);
  text(byId("state-age"), feed.updatedAt ? `Last update ${format.ago(now - feed.updatedAt)}.` : "");
  byId("main").classList.toggle("stale", isStale);
  byId("main").classList.toggle("locked", feed.isRefused);
  byId("key").hidden = !feed.isRefused;
  document.title = short ? `Cache: ${short}` : "Cache";
}

let due;
let drawnAt = 0;
let colors;

/** Schedules a redraw, and limits how often that happens. */
function draw() {
  due ??= setTimeout(() => requestAnimationFrame(() => {
    due = undefined;
    drawnAt = Date.now();
    const fromScratch = !colors;
    colors ??= look();
    showState();
    showPipeline();
    if (!byId("charts").hidden) {
      panels.forEach((panel) => panel.draw(colors, fromScratch));
    }
  }), Math.max(0, drawnAt + DRAW_MS - Date.now()));
}

const startedAt = Date.now();
let loaded = false;
const panels = [];
const panelOf = (name) => panels.find(({ type }) => type.name === name);

const feed = new Feed({
  types(types) {
    panels.push(...types.map((type) => new Panel(describe(type))));
    byId("charts").replaceChildren(...panels.map((panel) => panel.card));
    byId("tables").replaceChildren(...panels.map((panel) => panel.tableCard));
    draw();
  },
  reset(type, windows) {
    loaded = true;
    panelOf(type).windows.replace(windows);
    draw();
  },
  update({ type, window_start: start, fields }) {
    panelOf(type)?.windows.merge(start, fields);
    draw();
  },
  changed: draw,
});

for (const query of [dark, narrow]) {
  query.addEventListener("change", () => {
    colors = undefined;
    draw();
  });
}

byId("key").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  feed.use(byId("key").querySelector("input").value);
  event.target.reset();

  // At once, so that the form is gone before a second click.
  showState();
  draw();
});

document.querySelectorAll("[data-note]").forEach((note) => text(note, "Loading …"));
text(byId("zone"), `Times are local (${Intl.DateTimeFormat().resolvedOptions().timeZone})`);
feed.start();

// Ages change even if nothing arrives.
setInterval(draw, 1000);
draw();
