// The cards of one metric type: its chart with the numbers of a window, and its latest windows.

import { Asked } from "./asked.js";
import { Chart, canDraw } from "./charts.js";
import * as clock from "./clock.js";
import { marks } from "./colors.js";
import { text } from "./dom.js";
import * as format from "./format.js";
import { Latest } from "./latest.js";
import { Legend } from "./legend.js";
import * as picked from "./picked.js";
import { Windows, places } from "./windows.js";

// A stream processor may be late by this, whatever the length of its windows.
const GRACE_MS = 60_000;

/** The cards of a type that index.html has no words for are copies of those of one that it has. */
const patterns = Object.fromEntries(["type", "windows"].map((role) => [role, document.querySelector(`[data-${role}=event]`).cloneNode(true)]));

function card(role, name, title) {
  if (title === undefined) {
    return document.querySelector(`[data-${role}=${name}]`);
  }

  const copy = patterns[role].cloneNode(true);
  copy.dataset[role] = name;
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
export class Panel {
  /** The start of the newest window that the service knows of, which may have arrived without an update. */
  newestKnown;

  /** @param type A type as described by types.js. @param view What is asked. @param changed Called when the panel has to be drawn again. */
  constructor(type, view, changed) {
    const { name, title, subject, measures } = type;
    this.type = type;
    this.windows = new Windows(measures.map((measure) => measure.name), type.windowMs);
    this.card = card("type", name, title);
    this.tableCard = card("windows", name, title && `Latest ${subject} windows`);
    if (title !== undefined) {
      this.card.querySelector(".chart").ariaLabel = `Window of the ${subject} chart`;
    }

    this.card.querySelector("[data-unpin]").addEventListener("click", () => picked.pin(undefined));
    this.legend = new Legend(this.card, type, changed);
    this.latest = new Latest(this.tableCard, type, changed);
    this.asked = new Asked(type, this.card, this.windows, view, changed);
  }

  /** Replaces all windows. */
  reset(windows) {
    this.windows.replace(windows);
    this.asked.reset();
  }

  /** Merges fields into a window. */
  merge(start, fields) {
    this.windows.merge(start, fields);
    this.asked.merge(start, fields);
  }

  /** The start of the newest window; undefined if there is none. */
  get newest() {
    return Math.max(this.newestKnown ?? -Infinity, this.windows.starts.at(-1) ?? -Infinity);
  }

  /** Whether a window has started as recently as its length lets expect. */
  get isFresh() {
    return clock.now() - this.newest < 2 * (this.windows.length ?? 0) + GRACE_MS;
  }

  draw(look, fromScratch) {
    const { type } = this;
    this.card.hidden = this.tableCard.hidden = this.windows.isEmpty;
    if (this.windows.isEmpty) {
      return;
    }

    const asked = this.asked.answer();
    const { windows, starts, length, names, listed, all, found } = asked;
    const axis = places(starts, asked.slots);
    const openFrom = length ? axis.starts.findIndex((start) => start + length > clock.now()) : -1;
    const marked = marks(listed);
    const mark = (name) => marked.has(name) ? { color: look.series(marked.get(name).color), pattern: marked.get(name).pattern } : { color: "transparent" };
    this.view = {
      asked, axis, windows, starts, length,
      openFrom: openFrom < 0 ? Infinity : openFrom,
      isOther: (name) => !marked.has(name) && (!found || asked.wanted(name)),
      series: names.map((name) => ({ name, ...mark(name) })),
      listed: listed.map((name) => ({ name, ...mark(name) })),
      all: found ? found.length : all,
      othersColor: look.others,
    };
    this.#drawChart(look, fromScratch);
    this.latest.draw({ ...this.view, all: asked.only.length > 0 ? names.length : this.view.all });
    if (asked.areTotals) {
      this.asked.showTotals(this.card.querySelector(".totals table"), this.card.querySelector("[data-totals]"), mark);
    }

    this.point();
  }

  #drawChart(look, fromScratch) {
    if (!canDraw()) {
      return;
    }

    // Not earlier, because a chart that is not visible has no size.
    const isNew = !this.chart;
    this.chart ??= new Chart(this.card.querySelector(".chart"));
    const { type, view: { asked, axis, windows, series, all, isOther, openFrom, othersColor } } = this;
    const { plan, shift, isCompared, wanted } = asked;
    const hasBefore = isCompared && shift !== undefined;
    const panels = plan.measures.map((measure) => {
      const at = (start, name) => windows.values(start, name)[measure];
      const layers = series.map((one) => ({
        ...one,
        values: axis.starts.map((start) => at(start, one.name)),
        before: hasBefore && !plan.isStacked ? axis.starts.map((start) => at(start - shift, one.name)) : undefined,
      }));
      if (plan.isStacked && !wanted && all > series.length) {
        layers.push({ name: "\0others", color: othersColor, values: axis.starts.map((start) => windows.total(start, measure, isOther)) });
      }

      const heights = axis.starts.map((_, slot) => heightOf(layers.map(({ values }) => values[slot]), plan.isStacked));
      return {
        ...type.measures[measure], ...this.asked.cut(heights), measure, heights, series: layers,
        before: hasBefore && plan.isStacked ? axis.starts.map((start) => windows.total(start - shift, measure, wanted)) : undefined,
      };
    });
    this.chart.render(axis, plan, panels, openFrom, look, fromScratch || isNew);
    const isDrawn = panels.some(({ before, series: drawn }) => [before, ...drawn.map((one) => one.before)].some((values) => values?.some((value) => value !== undefined)));
    const remarks = [
      ...this.asked.remarks,
      ...!hasBefore || this.asked.isLoading ? []
        : [isDrawn ? `The thin ${plan.isStacked || series.length === 1 ? "line is" : "lines are"} the previous period` : "There are no windows in the previous period"],
      ...panels.flatMap((panel) => cutRemark(panel, axis, plan.isStacked)),
    ];
    this.part("remark", remarks.map((remark) => `${remark}.`).join(" ").replaceAll("….", "…"));
  }

  /** Shows the window that is looked at: the picked one, or else the last one that is complete. */
  point() {
    const { view, type } = this;
    if (!view || this.windows.isEmpty) {
      return;
    }

    const { axis, length, windows, starts, asked } = view;
    const at = picked.time();
    const found = at === undefined ? this.#lastComplete() : windows.at(at);
    const start = starts.includes(found) ? found : undefined;
    const shown = start ?? at;
    const { total, headline: { measure, label } } = this.asked;
    const which = total ? [total.words] : [
      picked.pinnedTime() !== undefined && at === picked.pinnedTime() ? "pinned" : "",
      start === undefined ? shown === undefined ? this.asked.none : "no window"
        : length && start + length > clock.now() ? "still filling"
          : at === undefined ? length ? "last complete" : "newest" : "",
    ].filter(Boolean);
    text(this.card.querySelector(".big small"), label);
    const value = type.measures[measure].full(total ? total.value : this.#headline(start));
    const before = total ? total.before : length && start !== undefined ? this.#headline(start - length) : undefined;
    const change = format.change(total ? total.value : this.#headline(start), before);
    this.part("total", value);
    this.part("change", change).title = !change || total ? "" : `Compared with ${format.start(start - length, length, clock.now())}`;
    const time = this.part("at", total || shown === undefined ? "" : format.start(shown, length, clock.now()));
    time.dateTime = shown === undefined ? "" : new Date(shown).toISOString();
    this.part("which", which.join(", "));
    this.card.querySelector("[data-unpin]").hidden = picked.pinnedTime() === undefined;

    const newest = this.windows.starts.at(-1);
    const isFilling = length && newest + length > clock.now();
    this.part("note", [length ? `${format.length(length)} windows` : "", `newest ${format.ago(clock.now() - newest)}${isFilling ? ", filling" : ""}`].filter(Boolean).join(", "))
      .dataset.tone = this.isFresh ? "" : "warn";

    const slot = shown === undefined ? -1 : axis.starts.findLastIndex((candidate) => candidate <= shown);
    const isOnAxis = slot >= 0 && (axis.starts[slot] === shown || shown < axis.starts[slot] + (length ?? 0));
    this.chart?.point(isOnAxis ? slot : -1, [shown === undefined ? "" : format.start(shown, length, clock.now()), ...which, `${value} ${label}`].filter(Boolean).join(", "));
    this.legend.draw(view, start);
  }

  /** The newest window that has ended; if there is none, or its length is unknown, the newest. */
  #lastComplete() {
    const { starts, length } = this.view;
    return length ? starts.findLast((start) => start + length <= clock.now()) ?? starts.at(-1) : starts.at(-1);
  }

  #headline(start) {
    const { measure, pick } = this.asked.headline;
    const { windows, asked: { wanted } } = this.view;
    return pick === "sum" ? windows.total(start, measure, wanted) : windows.extreme(start, measure, pick, wanted);
  }

  part(name, value) {
    const element = this.card.querySelector(`[data-${name}]`);
    text(element, value);
    return element;
  }
}

/** How high a slot is: the column, or the highest of its lines; undefined if it is empty. */
function heightOf(values, isStacked) {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : isStacked ? known.reduce((sum, value) => sum + value, 0) : Math.max(...known);
}

/** What is cut from a chart: how many slots, and the highest of them. */
function cutRemark({ label, full, max, cut, heights }, axis, isStacked) {
  if (!cut) {
    return [];
  }

  const highest = cut.reduce((one, other) => heights[other] > heights[one] ? other : one);
  const what = isStacked ? cut.length === 1 ? "column" : "columns" : `${cut.length === 1 ? "value" : "values"} of ${label}`;
  const which = cut.length === 1 ? `is cut: ${full(heights[highest])}` : `are cut, up to ${full(heights[highest])}`;
  return [`${format.count(cut.length)} ${what} above ${full(max)} ${which} at ${format.time(axis.starts[highest], clock.now())}`];
}
