// The charts. They draw on a canvas, and show no text from Kafka: names and numbers are next to them, as text.

/* global echarts */

import * as format from "./format.js";
import * as picked from "./picked.js";

// Room for half a label at the right end. Otherwise the chart would shrink whenever the last window has a label.
const RIGHT = 26;
const FIXED = { right: RIGHT, outerBoundsMode: "none" };

/** Whether charts can be drawn: their library is loaded beside the page, which shows its numbers without it. */
export const canDraw = () => typeof echarts !== "undefined";

// Room for the labels of the value axis.
const LEFT = 58;

/** What a chart shows: columns on each other, of what adds up, or lines, of one measure or two above each other. */
export class Chart {
  #kind;

  /** @param element The chart's frame: a slider over the windows. */
  constructor(element) {
    this.element = element;
    this.places = { starts: [], first: 0 };
    this.canvas = element.querySelector(".canvas");
    this.chart = echarts.init(this.canvas, null, { renderer: "canvas" });
    new ResizeObserver(() => {
      this.chart.resize();
      this.#place();
    }).observe(this.canvas);

    // The pointer is our own: one that all charts share, and that the library does not have to redraw anything for.
    element.addEventListener("pointermove", (event) => event.pointerType !== "touch" && picked.hover(this.#startAt(event)));
    element.addEventListener("pointerleave", () => picked.hover(undefined));
    element.addEventListener("click", (event) => {
      const start = this.#startAt(event);
      picked.pin(start === picked.pinnedTime() ? undefined : start);
    });
    element.addEventListener("keydown", (event) => this.#key(event));
  }

  /**
   * Draws the chart.
   * @param places The slots. @param plan `isStacked`, and the `scale`: "auto", "full" or "log".
   * @param panels Array of { axis, unit, max, parts, cut, series }, one, or two for lines: `max` ends the axis, in so many parts, and the slots in `cut` reach beyond it;
   * a series is { name, color, pattern, values, before }, columns from the bottom up. @param openFrom Windows from this slot on are still filling.
   * @param fromScratch Whether colours have changed.
   */
  render(places, plan, panels, openFrom, look, fromScratch) {
    [this.places, this.openFrom] = [places, openFrom];
    const kind = `${plan.isStacked} ${plan.scale === "log"} ${panels.length}`;
    const option = plan.isStacked ? columns(places, panels[0], openFrom, look) : lines(places, panels, plan.scale === "log", look);
    this.chart.setOption({ animation: false, ...option }, fromScratch || kind !== this.#kind ? { notMerge: true } : { replaceMerge: ["series"] });
    this.#kind = kind;
    this.#place();
  }

  /** Marks the window that is looked at. @param index Its slot; -1 if it has none. @param text What it is, for screen readers. */
  point(index, text) {
    this.index = index;
    set(this.element, "aria-valuemin", "0");
    set(this.element, "aria-valuemax", String(Math.max(0, this.places.starts.length - 1)));
    set(this.element, "aria-valuenow", String(Math.max(0, index)));
    set(this.element, "aria-valuetext", text);
    this.#place();
  }

  get #slot() {
    return (this.canvas.clientWidth - LEFT - RIGHT) / this.places.starts.length;
  }

  #place() {
    const isPicked = picked.time() !== undefined && this.index >= 0;
    this.#cover(".pointer", isPicked ? this.index : undefined, 1);
    this.element.classList.toggle("pinned", picked.pinnedTime() !== undefined);
    this.#cover(".filling", this.openFrom, this.places.starts.length - this.openFrom);
  }

  /** Covers slots with an element; hides it if there are none. */
  #cover(selector, first, count) {
    const element = this.element.querySelector(selector);
    element.hidden = !(count > 0 && first !== undefined);
    if (!element.hidden) {
      element.style.left = `${LEFT + first * this.#slot}px`;
      element.style.width = `${count * this.#slot}px`;
    }
  }

  #startAt({ clientX }) {
    const index = Math.floor((clientX - this.canvas.getBoundingClientRect().left - LEFT) / this.#slot);
    return this.places.starts[index];
  }

  #key(event) {
    const last = this.places.starts.length - 1;
    const now = this.index < 0 ? last : this.index;
    const target = {
      ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, PageDown: now - 10, PageUp: now + 10, Home: 0,
    }[event.key];
    if (last >= 0 && (target !== undefined || event.key === "End")) {
      event.preventDefault();
      picked.pin(target === undefined ? undefined : this.places.starts[Math.max(this.places.first, Math.min(last, target))]);
    }
  }
}

/** Stacked columns: what adds up, such as events by type. */
function columns(places, { axis, max, parts, cut, series, before }, openFrom, look) {
  const top = max ?? Math.max(0, ...places.starts.map((_, index) => series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0)), ...before?.map((value) => value ?? 0) ?? []);
  return {
    grid: { left: LEFT, top: 10, bottom: 24, ...FIXED },
    xAxis: timeAxis(places, look),
    yAxis: { ...valueAxis(look, axis(top).format), minInterval: 1, ...endsAt(max, parts) },
    series: [
      ...series.map(({ name, color, pattern, values }) => ({
        id: name,
        type: "bar",
        stack: "all",
        silent: true,
        barCategoryGap: "28%",
        itemStyle: { color, decal: decal(pattern, look) },
        data: values.map((value, index) => value && index >= openFrom ? { value, itemStyle: { opacity: 0.5 } } : value ?? null),
      })),
      ...before ? [beforeLine("\0before", before, look.text, 0)] : [],
      cutMarks(cut, max, 0, look),
    ],
  };
}

/** Lines: one measure, such as load times by device, or two above each other. */
function lines(places, panels, isLog, look) {
  const isPair = panels.length > 1;
  const axes = panels.map(({ axis, max, series }) => axis(max ?? topOf(series)));
  return {
    title: axes.map(({ title }, panel) => ({
      text: title, left: 6, top: panel === 0 ? 4 : "52%", padding: 0, textStyle: { color: look.muted, fontSize: 12, fontWeight: 400, fontFamily: look.font },
    })),
    grid: isPair
      ? [{ left: LEFT, top: 28, height: "28%", ...FIXED }, { left: LEFT, bottom: 24, height: "28%", ...FIXED }]
      : [{ left: LEFT, top: 28, bottom: 24, ...FIXED }],
    xAxis: panels.map((_, panel) => ({ ...timeAxis(places, look, panel === panels.length - 1), gridIndex: panel })),
    yAxis: panels.map(({ axis, unit, max, parts }, panel) => ({
      ...isLog
        ? { ...valueAxis(look, unit === "ms" ? axes[panel].format : (value) => axis(value).format(value)), type: "log", min: undefined }
        : { ...valueAxis(look, axes[panel].format), splitNumber: isPair ? 2 : 3, min: ({ min }) => min < 0 ? null : 0, ...endsAt(max, isPair ? 2 : parts) },
      gridIndex: panel,
    })),
    series: panels.flatMap(({ max, cut, series }, panel) => [
      ...series.map(({ name, color, pattern, values }) => ({
        id: `${panel} ${name}`,
        type: "line",
        silent: true,
        xAxisIndex: panel,
        yAxisIndex: panel,
        lineStyle: { width: 1.75, color, type: pattern },
        itemStyle: { color },
        symbol: "circle",
        // Otherwise a window between two missing ones would be invisible.
        symbolSize: (_, { dataIndex }) => values[dataIndex - 1] === undefined && values[dataIndex + 1] === undefined ? 5 : 0,

        // There is no zero on a logarithmic scale.
        data: values.map((value) => value === undefined || isLog && value <= 0 ? null : value),
      })),
      ...series.filter(({ before }) => before).map(({ name, color, before }) =>
        beforeLine(`${panel} ${name} before`, before.map((value) => isLog && value <= 0 ? undefined : value), color, panel)),
      cutMarks(cut, max, panel, look),
    ]),
  };
}

/** Where an axis ends, if not where its values do. */
const endsAt = (max, parts) => max === undefined ? { max: null, interval: null } : { max, interval: max / parts };

/** The previous period: a thin, pale line. */
const beforeLine = (id, values, color, panel) => ({
  id, type: "line", silent: true, xAxisIndex: panel, yAxisIndex: panel, symbol: "none", z: 3,
  lineStyle: { width: 1.25, color, opacity: 0.55 }, data: values.map((value) => value ?? null),
});

/** Arrows where values reach beyond the end of the axis. */
const cutMarks = (cut = [], max, panel, look) => ({
  id: `\0cut ${panel}`, type: "scatter", silent: true, xAxisIndex: panel, yAxisIndex: panel, clip: false, z: 4,
  symbol: "triangle", symbolSize: [9, 7], symbolOffset: [0, -3], itemStyle: { color: look.text }, data: cut.map((slot) => [slot, max]),
});

const topOf = (series) => Math.max(0, ...series.flatMap(({ values, before = [] }) => [...values, ...before].map((value) => Math.abs(value ?? 0))));

/** The page's colours and font, because style sheets do not apply inside a canvas. */
export function look() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: color("text"), muted: color("muted"), line: color("line"), grid: color("grid"), card: color("card"), others: color("series-others"),
    series: (index) => color(`series-${index}`),
    font: getComputedStyle(document.body).fontFamily,
  };
}

/** The stripes of a name that shares its colour with another one. */
function decal(pattern, { card }) {
  const gap = { dashed: 2, dotted: 4 }[pattern];
  return gap ? { symbol: "rect", color: card, dashArrayX: [1, 0], dashArrayY: [gap, gap], rotation: Math.PI / 4 } : { symbol: "none" };
}

function timeAxis({ starts, step }, look, labelled = true) {
  const ticks = format.ticks(starts, step);
  return {
    type: "category",
    data: starts.map((_, index) => index),
    axisTick: { show: false },
    axisLine: { lineStyle: { color: look.line } },
    axisLabel: {
      show: labelled, color: look.muted, fontFamily: look.font, fontSize: 11, interval: (index) => Boolean(ticks[index]), hideOverlap: true,
      formatter: (index) => ticks[index] ?? "",
    },
  };
}

function valueAxis(look, formatter) {
  return {
    type: "value",
    min: 0,
    splitNumber: 3,
    axisLabel: { color: look.muted, fontFamily: look.font, fontSize: 11, formatter },
    splitLine: { lineStyle: { color: look.grid } },
  };
}

function set(element, name, value) {
  if (element.getAttribute(name) !== value) {
    element.setAttribute(name, value);
  }
}
