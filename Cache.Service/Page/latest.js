// The latest windows of a type as a table: a column per window, newest first, as many as fit; a group of rows per measure.

import * as clock from "./clock.js";
import { fits, rows } from "./dom.js";
import * as format from "./format.js";

const MAX_WINDOWS = 10;

// Of a digit, and between two columns; in CSS pixels.
const DIGIT_WIDTH = 7.5;
const GAP = 11;
const MIN_DIGITS = 8;

export class Latest {
  /** @param card The card with the table. @param changed Called when it has to be drawn again. */
  constructor(card, type, changed) {
    this.type = type;
    this.table = card.querySelector("table");
    this.table.append(...type.measures.slice(1).map(() => document.createElement("tbody")));
    this.room = fits(this.table, changed);
  }

  /** @param view What the panel shows. */
  draw({ windows, starts: asked, series, all, isOther, length, othersColor }) {
    const { type } = this;
    const starts = asked.slice(-MAX_WINDOWS).reverse();
    const groups = type.measures.map(({ rollup, heading }, measure) => {
      const lines = series.map(({ name, ...mark }) => ({ name, mark, values: starts.map((start) => windows.values(start, name)[measure]) }));
      if (type.isStacked && rollup === "sum" && all > series.length) {
        const values = starts.map((start) => windows.total(start, measure, isOther));
        lines.push({ name: `${format.count(all - series.length)} others`, mark: { color: othersColor }, values });
      }

      const cell = format.column(lines.flatMap(({ values }) => values));
      return { heading, lines: lines.map(({ values, ...line }) => ({ ...line, cells: values.map(cell) })) };
    });

    const digits = Math.max(MIN_DIGITS, ...groups.flatMap(({ lines }) => lines.flatMap(({ cells }) => cells.map((cell) => cell.length))));
    const count = Math.min(starts.length, Math.max(1, this.room(digits * DIGIT_WIDTH + GAP)));
    rows(this.table.tHead, [[{ tag: "th", scope: "col", text: type.dimension }, ...starts.slice(0, count).map((start) => head(start, length))]]);
    groups.forEach(({ heading, lines }, measure) => rows(this.table.tBodies[measure], [
      [{ tag: "th", scope: "rowgroup", text: heading, span: count + 1, className: "group" }],
      ...lines.map(({ name, mark, cells }) => [{ tag: "th", scope: "row", text: name, title: name, ...mark }, ...cells.slice(0, count)]),
    ]));
  }
}

/** The date, if there is one, and "filling" have lines of their own. */
function head(start, length) {
  const isFilling = length && start + length > clock.now();
  return { tag: "th", scope: "col", text: format.start(start, length, clock.now()).replace(/, (?=\d\d:)/, "\n") + (isFilling ? "\nfilling" : "") };
}
