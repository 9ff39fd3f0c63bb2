// The two kinds of chart. They draw on a canvas, and show no text from Kafka: names and numbers are next to them, as text.

/* global echarts */

import * as format from "./format.js";

// Always leave room for half a label at the right end. Otherwise the chart shrinks whenever the last window has a label.
const FIXED = { right: 26, outerBoundsMode: "none" };

class Chart {
  /** @param element The chart's frame: a slider over the windows. @param pick Called with the index of the selected slot, or undefined for the newest. */
  constructor(element, pick) {
    this.element = element;
    this.pick = pick;
    this.places = { starts: [], first: 0 };
    const canvas = element.querySelector(".canvas");
    this.chart = echarts.init(canvas, null, { renderer: "canvas" });
    new ResizeObserver(() => this.chart.resize()).observe(canvas);

    this.chart.on("updateAxisPointer", ({ axesInfo }) => this.#hover(axesInfo?.[0]?.value));
    this.chart.on("globalout", () => this.#hover(undefined));
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("blur", () => this.#show(undefined));
  }

  /** Redraws the chart, from scratch if colours have changed. */
  draw(option, fromScratch) {
    this.chart.setOption({ animation: false, ...option }, fromScratch ? { notMerge: true } : { replaceMerge: ["series"] });
  }

  /** Describes the selected window for screen readers. */
  describe(index, text) {
    set(this.element, "aria-valuemin", "0");
    set(this.element, "aria-valuemax", String(Math.max(0, this.places.starts.length - 1)));
    set(this.element, "aria-valuenow", String(index));
    set(this.element, "aria-valuetext", text);
  }

  #hover(index) {
    this.pick(index);
  }

  #show(index) {
    this.chart.dispatchAction(index === undefined ? { type: "hideTip" } : { type: "showTip", seriesIndex: 0, dataIndex: index });
    this.pick(index);
  }

  #key(event) {
    const last = this.places.starts.length - 1;
    const now = Number(this.element.getAttribute("aria-valuenow"));
    const target = {
      ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, PageDown: now - 10, PageUp: now + 10, Home: 0, End: last,
    }[event.key];
    if (last >= 0 && (target !== undefined || event.key === "Escape")) {
      event.preventDefault();
      const index = Math.max(this.places.first, Math.min(last, target ?? last));
      this.#show(index === last ? undefined : index);
    }
  }
}

/** Stacked columns: what adds up, such as events by type. */
export class StackChart extends Chart {
  /** @param series Array of { name, color, values }, from the bottom up. @param openFrom Windows from this slot on are still filling. */
  render(places, series, openFrom, look, fromScratch) {
    this.places = places;
    this.draw({
      grid: { left: 44, top: 10, bottom: 24, ...FIXED },
      xAxis: timeAxis(places, look),
      yAxis: { ...valueAxis(look, format.axis), minInterval: 1 },
      tooltip: pointer("shadow", look),
      series: series.map(({ name, color, values }) => ({
        id: name,
        type: "bar",
        stack: "all",
        barCategoryGap: "28%",
        itemStyle: { color },
        emphasis: { disabled: true },
        data: values.map((value, index) => value && index >= openFrom ? { value, itemStyle: { opacity: 0.5 } } : value),
      })),
    }, fromScratch);
  }
}

/** Lines: one measure, such as load times by device, or two above each other. */
export class LinesChart extends Chart {
  /** @param measures Array of { title, axis }: one or two. @param series Array of { name, color, values }, with an array of values per measure. */
  render(places, measures, series, look, fromScratch) {
    this.places = places;
    const isPair = measures.length > 1;
    this.draw({
      title: measures.map(({ title }, panel) => ({
        text: title, left: 6, top: panel === 0 ? 4 : "52%", padding: 0, textStyle: { color: look.muted, fontSize: 12, fontWeight: 400, fontFamily: look.font },
      })),
      axisPointer: { link: [{ xAxisIndex: "all" }] },
      grid: isPair
        ? [{ left: 52, top: 28, height: "28%", ...FIXED }, { left: 52, bottom: 24, height: "28%", ...FIXED }]
        : [{ left: 52, top: 28, bottom: 24, ...FIXED }],
      xAxis: measures.map((_, panel) => ({ ...timeAxis(places, look, panel === measures.length - 1), gridIndex: panel })),
      yAxis: measures.map(({ axis }, panel) => ({
        ...valueAxis(look, axis), gridIndex: panel, splitNumber: isPair ? 2 : 3, min: ({ min }) => min < 0 ? null : 0,
      })),
      tooltip: pointer("line", look),
      series: measures.flatMap((_, panel) => series.map(({ name, color, values }) => ({
        id: `${panel} ${name}`,
        type: "line",
        xAxisIndex: panel,
        yAxisIndex: panel,
        lineStyle: { width: 1.75, color },
        itemStyle: { color },
        emphasis: { disabled: true },
        symbol: "circle",
        // Otherwise a window between two missing ones would be invisible.
        symbolSize: (_, { dataIndex }) => values[panel][dataIndex - 1] === undefined && values[panel][dataIndex + 1] === undefined ? 5 : 0,
        data: values[panel].map((value) => value ?? null),
      }))),
    }, fromScratch);
  }
}

/** The page's colours and font, because style sheets do not apply inside a canvas. */
export function look() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    muted: color("muted"), line: color("line"), grid: color("grid"), pointer: color("pointer"), others: color("series-others"),
    series: (index) => color(`series-${index}`),
    font: getComputedStyle(document.body).fontFamily,
  };
}

function timeAxis({ starts, step }, look, labelled = true) {
  // About five labels; each stays with its window as that moves to the left.
  const every = Math.ceil(starts.length / 5);
  const isLabelled = (index) => starts[index] !== undefined
    && (step ? Math.round(starts[index] / step) % every === 0 : (starts.length - 1 - index) % every === 0);
  return {
    type: "category",
    data: starts.map((_, index) => index),
    axisTick: { show: false },
    axisLine: { lineStyle: { color: look.line } },
    axisLabel: {
      show: labelled, color: look.muted, fontFamily: look.font, fontSize: 11, interval: isLabelled, hideOverlap: true,
      formatter: (index) => isLabelled(Number(index)) ? format.tick(starts[index], step) : "",
    },
    axisPointer: { label: { show: false } },
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

function pointer(type, look) {
  // Only the pointer, without a tooltip that would cover the chart: its numbers are in the table below.
  return {
    trigger: "axis", showContent: false, renderMode: "richText",
    axisPointer: { type, animation: false, shadowStyle: { color: look.pointer }, lineStyle: { color: look.muted, type: "solid", width: 1 } },
  };
}

function set(element, name, value) {
  if (element.getAttribute(name) !== value) {
    element.setAttribute(name, value);
  }
}
