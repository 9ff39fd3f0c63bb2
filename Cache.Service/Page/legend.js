// The numbers of one window, by dimension: those that are charted, and on request all of them; or totals in place of them.

import { headCell, nameCell } from "./controls.js";
import { fits, rows, text } from "./dom.js";
import * as format from "./format.js";
import { sorted } from "./totals.js";

const MAX_LISTED = 200;
const COLUMN_WIDTH = 96;

export class Legend {
  /** @param card The card to add it to. @param changed Called when it has to be drawn again. */
  constructor(card, type, changed) {
    this.type = type;
    card.querySelector(".body").append(document.getElementById("numbers").content.cloneNode(true));
    this.table = card.querySelector(".legend");
    this.all = card.querySelector("details");
    this.more = card.querySelector("[data-more]");
    this.left = card.querySelector("[data-left]");
    this.totals = card.querySelector(".totals");
    this.room = fits(this.table, changed);
    this.all.addEventListener("toggle", changed);
  }

  /** @param view What the panel shows. @param start The window; undefined if there is none. */
  draw({ windows, listed, all, isOther, othersColor, asked }, start) {
    const { type } = this;
    this.asked = asked;
    this.totals.hidden = !asked.areTotals;
    this.table.hidden = asked.areTotals;
    if (asked.areTotals) {
      this.left.hidden = this.all.hidden = true;
      return;
    }

    const others = all - listed.length;

    // What does not fit is in the table of the latest windows, which has a row for each measure.
    this.measures = type.measures.slice(0, Math.max(3, this.room(COLUMN_WIDTH)));
    const lines = listed.map(({ name, ...mark }) => ({ name, mark, values: windows.values(start, name) }));
    if (others > 0 && type.isStacked) {
      const totals = type.measures.map(({ rollup }, measure) => rollup === "sum" ? windows.total(start, measure, isOther) : "");
      lines.push({ name: `${format.count(others)} others`, isRest: true, mark: { color: othersColor }, values: totals });
    }

    this.#fill(this.table, lines, true);
    const left = type.measures.length - this.measures.length;
    this.left.hidden = left === 0;
    text(this.left, `${left} more ${left === 1 ? "measure is" : "measures are"} with the latest windows.`);
    this.all.hidden = others === 0;
    if (others > 0) {
      this.#drawAll(windows, start, all);
    }
  }

  /** Lists the dimensions of the window that match the search, up to a readable number. */
  #drawAll(windows, start, all) {
    const title = `All ${format.count(all)} ${this.type.many}`;
    text(this.all.querySelector("summary"), title);
    this.all.querySelector(".scroll").ariaLabel = title;
    if (this.all.open) {
      const { text: wanted } = this.asked;
      const found = windows.dimensions(start).filter((name) => name.toLowerCase().includes(wanted));
      const lines = this.#sorted(found.map((name) => ({ name, values: windows.values(start, name) })));
      this.#fill(this.all.querySelector("table"), lines.slice(0, MAX_LISTED));
      text(this.more, found.length > MAX_LISTED ? `${format.count(found.length - MAX_LISTED)} more; type to find them.` : found.length === 0 ? "No match in this window." : "");
    }
  }

  /** In the order of a column, if one is chosen; what stands for others comes last. */
  #sorted(lines) {
    const { sort } = this.asked;
    const column = sort.replace(/^-/, "");
    const measure = this.type.measures.findIndex(({ name }) => name === column);
    return sort === "" || measure < 0 && column !== "dimension" ? lines
      : sorted(lines, ({ name, values, isRest }) => isRest ? undefined : measure < 0 ? name : values[measure], sort.startsWith("-"));
  }

  #fill(table, lines, isSorted = false) {
    const { sort, only } = this.asked;
    rows(table.tHead, [[headCell(this.type.dimension, "dimension", sort), ...this.measures.map(({ heading, name }) => headCell(heading, name, sort))]]);
    const columns = this.measures.map((_, measure) => format.column(lines.map(({ values }) => values[measure]).filter((value) => value !== "")));
    rows(table.tBodies[0], (isSorted ? this.#sorted(lines) : lines).map(({ name, mark, values, isRest }) => [
      isRest ? { tag: "th", scope: "row", text: name, ...mark } : nameCell(name, mark, only),
      ...columns.map((cell, measure) => values[measure] === "" ? "" : cell(values[measure])),
    ]));
  }
}
