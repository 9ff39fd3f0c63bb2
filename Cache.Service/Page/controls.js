// The controls: the bar that applies to the whole page, and the small one of each card. They set what is asked (view.js), and show
// what is set.

import { text } from "./dom.js";
import * as format from "./format.js";
import { MAX_PICKED } from "./view.js";

/** How many of the things that were not understood are named. */
const MAX_NAMED = 3;

const byId = (id) => document.getElementById(id);

/** Connects the bar. @param view What is asked. @param now The service's time. */
export function connect(view, now) {
  const bar = byId("controls");
  for (const button of bar.querySelectorAll("[data-range]")) {
    button.addEventListener("click", () => view.set({ range: button.dataset.range, from: undefined, to: undefined, window: undefined }));
  }

  byId("pause").addEventListener("click", () => view.isLive
    ? view.set({ paused: Math.floor(now() / 1000) * 1000 })
    : view.set({ paused: undefined, from: undefined, to: undefined, window: undefined }));

  // Changes are in the totals, so that is where they are shown; and no longer, if they were not before.
  let hadTotals = true;
  byId("compare").addEventListener("change", ({ target: { checked } }) => {
    hadTotals = checked ? view.totals : hadTotals;
    view.set({ compare: checked, totals: checked || view.totals && hadTotals });
  });
  for (const [id, setting] of [["totals", "totals"], ["utc", "utc"]]) {
    byId(id).addEventListener("change", ({ target }) => view.set({ [setting]: target.value === "true" }));
  }

  for (const id of ["scale", "scheme"]) {
    byId(id).addEventListener("change", ({ target }) => view.set({ [id]: target.value }));
  }

  connectBounds(view, now);
  connectWall(view);
}

/** The fields of a range with bounds of its own. */
function connectBounds(view, now) {
  const form = byId("bounds");
  const [from, to] = form.querySelectorAll("input");
  byId("custom").addEventListener("click", () => {
    form.hidden = !form.hidden;
    if (!form.hidden) {
      from.value ||= fieldOf(view.from ?? Math.floor(now() / 60_000) * 60_000 - 900_000, view.utc);
      to.value ||= fieldOf(view.to ?? Math.floor(now() / 60_000) * 60_000, view.utc);
      from.focus();
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [first, last] = [from, to].map(({ value }) => msOf(value, view.utc));
    to.setCustomValidity(first > last ? "The end is before the start." : "");
    if (form.reportValidity()) {
      view.set({ range: "60", from: first, to: last, paused: undefined, window: undefined });
    }
  });
  to.addEventListener("input", () => to.setCustomValidity(""));
  from.addEventListener("input", () => to.setCustomValidity(""));
}

/** The full screen for a wall. Without the browser's own full screen, the page still shows only charts. */
function connectWall(view) {
  byId("wall").addEventListener("click", () => {
    const isWall = !view.wall;
    view.set({ wall: isWall });
    if (isWall) {
      document.documentElement.requestFullscreen?.().catch(() => {});
    } else if (document.fullscreenElement) {
      document.exitFullscreen();
    }
  });

  // The browser ends its full screen by itself, with Escape.
  document.addEventListener("fullscreenchange", () => {
    if (!document.fullscreenElement && view.wall) {
      view.set({ wall: false });
    }
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && view.wall && !document.fullscreenElement) {
      view.set({ wall: false });
    }
  });
}

let shownBounds;

/** Shows what is set. */
export function show(view) {
  for (const button of byId("controls").querySelectorAll("[data-range]")) {
    press(button, !view.isFixed && button.dataset.range === view.range);
  }

  press(byId("custom"), view.isFixed);
  const bounds = `${view.from} ${view.to} ${view.utc}`;
  if (view.isFixed && shownBounds !== bounds) {
    shownBounds = bounds;
    const [from, to] = byId("bounds").querySelectorAll("input");
    [from.value, to.value] = [fieldOf(view.from, view.utc), fieldOf(view.to, view.utc)];
    byId("bounds").hidden = false;
  } else if (!view.isFixed && shownBounds) {
    shownBounds = undefined;
    byId("bounds").hidden = true;
    byId("bounds").reset();
  }

  text(byId("pause"), view.isLive ? "Pause" : "Continue");
  text(byId("held"), view.paused === undefined ? "" : `Paused at ${format.time(view.paused)}`);
  const isAll = view.range === "all" && !view.isFixed;
  byId("compare").checked = view.compare && !isAll;
  byId("compare").disabled = isAll;
  byId("compare").parentElement.title = isAll ? "There is no period before that of all windows." : "";
  for (const [id, value] of Object.entries({ totals: view.totals, utc: view.utc, scale: view.scale, scheme: view.scheme })) {
    if (byId(id).value !== String(value)) {
      byId(id).value = String(value);
    }
  }

  text(byId("wall"), view.wall ? "Leave full screen" : "Full screen");
  document.body.classList.toggle("wall", view.wall);
  showScheme(view.scheme);

  byId("notice").hidden = view.ignored.length === 0;
  const more = view.ignored.length > MAX_NAMED ? `, and ${view.ignored.length - MAX_NAMED} more` : "";
  text(byId("notice"), view.ignored.length === 0 ? "" : `Not understood in the address, and ignored: ${view.ignored.slice(0, MAX_NAMED).join(", ")}${more}`);
}

const DARK = "(prefers-color-scheme: dark)";

// The style sheet has the dark colours once, for those whose system is dark.
const darkRules = [...document.styleSheets].flatMap(({ cssRules }) => [...cssRules]).filter(({ media }) => media?.mediaText === DARK);

function showScheme(scheme) {
  const root = document.documentElement;
  if ((root.dataset.scheme ?? "system") !== scheme) {
    root.dataset.scheme = scheme;
    darkRules.forEach(({ media }) => media.mediaText = { light: "not all", dark: "all" }[scheme] ?? DARK);
  }
}

/** The small bar of one card. */
export class Tools {
  #view;
  #type;
  #card;
  #tools;
  #find;

  /** @param card The type's card. @param type A type as described by types.js. @param view What is asked. @param save Saves what is shown as CSV. */
  constructor(card, type, view, save) {
    this.#view = view;
    this.#type = type;
    this.#card = card;
    card.querySelector(".head").after(byId("tools").content.cloneNode(true));
    this.#tools = card.querySelector(".tools");
    this.#find = this.#tools.querySelector("input");
    this.#find.placeholder = `Find ${type.many}`;
    this.#find.ariaLabel = `Find ${type.many}`;
    const measure = this.#select("measure");
    measure.append(...measureOptions(type));
    measure.hidden = measure.options.length < 2;

    this.#find.addEventListener("input", () => view.setOf(type.name, { find: this.#find.value, only: [] }, false));
    for (const setting of ["measure", "style"]) {
      this.#select(setting).addEventListener("change", ({ target }) => view.setOf(type.name, { [setting]: target.value }));
    }

    this.#tools.querySelector("[data-csv]").addEventListener("click", save);
    card.addEventListener("click", (event) => this.#click(event));
  }

  #select(setting) {
    return this.#tools.querySelector(`[data-set=${setting}]`);
  }

  #click(event) {
    const { target } = event;
    const { only, sort } = this.#view.of(this.#type.name);
    const pick = target.closest("[data-pick]");
    if (pick) {
      const isMore = event.ctrlKey || event.metaKey || event.shiftKey || pick.classList.contains("add");
      this.#view.setOf(this.#type.name, { only: picked(only, pick.dataset.pick, isMore) });
    } else if (target.closest("[data-all]")) {
      this.#view.setOf(this.#type.name, { only: [], find: "" });
    } else if (target.closest("[data-sort]")) {
      const { sort: column } = target.closest("[data-sort]").dataset;
      this.#view.setOf(this.#type.name, { sort: turned(sort, column, column === "dimension") });
    }
  }

  /**
   * Shows what is set.
   * @param style How the chart is drawn: "columns" or "lines". @param canStack Whether columns are possible.
   * @param note What the search found, or which dimensions are picked.
   */
  show({ style, canStack, note }) {
    const settings = this.#view.of(this.#type.name);
    for (const [setting, value] of [["measure", settings.measure], ["style", style]]) {
      const select = this.#select(setting);

      // The first measure is what is charted anyway.
      const known = [...select.options].some((option) => option.value === value) ? value : "";
      if (select.value !== known) {
        select.value = known;
      }
    }

    this.#select("style").hidden = !canStack;
    if (this.#find.value !== settings.find) {
      this.#find.value = settings.find;
    }

    const picks = this.#card.querySelector(".picks");
    picks.hidden = settings.only.length === 0 && settings.find.trim() === "";
    text(picks.querySelector("span"), note);
  }
}

/** The measures to choose from; first what is charted without a choice. */
function measureOptions({ measures, isStacked, lines }) {
  const usual = new Option(measures.slice(0, lines).map(({ label }) => label).join(" and "), "");
  return [usual, ...measures.slice(isStacked || lines === 1 ? 1 : 0).map(({ label, name }) => new Option(label, name))];
}

/** Adds a dimension to those picked, or takes it out; or picks it alone, or, if it was alone, none. */
function picked(only, dimension, isMore) {
  if (isMore) {
    return only.includes(dimension) ? only.filter((other) => other !== dimension) : [...only, dimension].slice(-MAX_PICKED);
  }

  return only.length === 1 && only[0] === dimension ? [] : [dimension];
}

/** The sort after a click on a column: numbers from the largest, names from A; then the other way; then as without. */
export function turned(sort, column, isName) {
  const [first, second] = isName ? [column, `-${column}`] : [`-${column}`, column];
  return sort === first ? second : sort === second ? "" : first;
}

/** The cell of a dimension, which can be picked. @param only The dimensions that are picked. */
export function nameCell(name, mark, only) {
  const isPicked = only.includes(name);
  return {
    tag: "th", scope: "row", text: name, title: name, ...mark, className: only.length > 0 && !isPicked ? "unpicked" : "", button: { pick: name }, pressed: isPicked,
    add: only.length > 0 && !isPicked ? `Add ${name}` : undefined,
  };
}

/** A cell for the head of a column that can be sorted. */
export function headCell(label, column, sort, more = {}) {
  const direction = sort === column ? "ascending" : sort === `-${column}` ? "descending" : "none";
  return { tag: "th", scope: "col", text: label, button: { sort: column }, sort: direction, ...more };
}

function press(button, isPressed) {
  const value = String(isPressed);
  if (button.ariaPressed !== value) {
    button.ariaPressed = value;
  }
}

/** A time as a field of type datetime-local holds it. */
function fieldOf(ms, isUtc) {
  const date = new Date(isUtc ? ms : ms - new Date(ms).getTimezoneOffset() * 60_000);
  return date.toISOString().slice(0, 19);
}

/** The time in a field of type datetime-local. */
const msOf = (value, isUtc) => Date.parse(isUtc ? `${value}Z` : value);
