// The newest windows of one type, from answers and updates. Independent of the page.

/** Maximum number of windows that the page keeps and charts. */
export const MAX_WINDOWS = 60;

/** Maximum number of dimensions with a colour of their own. */
export const MAX_SHOWN = 7;

// As many as the service looks at, too.
const MAX_GAPS = 14;

export class Windows {
  #byStart = new Map();
  #starts;
  #ranking;
  #shown = [];
  #shownBy = 0;
  #none;
  #most;

  /**
   * @param measures The names of the type's measures. @param length The length of all windows in milliseconds, if known.
   * @param most How many windows are kept.
   */
  constructor(measures, length, most = MAX_WINDOWS) {
    this.measures = measures;
    this.#most = most;
    this.#none = measures.map(() => undefined);
    this.knownLength = length;
  }

  /** Window starts, oldest first. */
  get starts() {
    return this.#starts ??= [...this.#byStart.keys()].sort((a, b) => a - b);
  }

  get isEmpty() {
    return this.#byStart.size === 0;
  }

  /** The length of a window in milliseconds: the type's, else the smallest gap among the newest 15; undefined if unknown. */
  get length() {
    const newest = this.starts.slice(-MAX_GAPS - 1);
    return this.knownLength ?? (newest.length < 2 ? undefined : Math.min(...gaps(newest)));
  }

  /** Replaces all windows with an answer of /metrics/…/windows. */
  replace(windows) {
    this.#byStart.clear();
    for (const { window_start: start, ...fields } of windows) {
      this.merge(start, fields);
    }

    this.#starts = this.#ranking = undefined;
  }

  /** Merges fields into a window: those of an update, or all of them. */
  merge(start, fields) {
    let window = this.#byStart.get(start);
    if (!window) {
      this.#byStart.set(start, window = new Map());
      this.#starts = undefined;
    }

    for (const [field, value] of Object.entries(fields)) {
      // A dimension may contain dots.
      const dot = field.lastIndexOf(".");
      const measure = this.measures.indexOf(field.slice(dot + 1));
      if (dot > 0 && measure >= 0 && typeof value === "number") {
        const dimension = field.slice(0, dot);
        const values = window.get(dimension) ?? [...this.#none];
        values[measure] = value;
        window.set(dimension, values);
      }
    }

    this.#ranking = undefined;
    if (this.#byStart.size > this.#most) {
      this.#byStart.delete(this.starts[0]);
      this.#starts = undefined;
    }
  }

  /** The start of the window that contains a time; undefined if there is none. */
  at(time) {
    const start = this.starts.findLast((candidate) => candidate <= time);
    return start === time || time < start + (this.length ?? 0) ? start : undefined;
  }

  /** The values of a dimension in a window, one for each measure; undefined if missing. */
  values(start, dimension) {
    return this.#byStart.get(start)?.get(dimension) ?? this.#none;
  }

  /** The sum of a measure in a window, over the dimensions that a filter selects; undefined if none of them has a value. */
  total(start, measure, wanted = () => true) {
    let sum;
    for (const [dimension, values] of this.#byStart.get(start) ?? []) {
      if (values[measure] !== undefined && wanted(dimension)) {
        sum = (sum ?? 0) + values[measure];
      }
    }

    return sum;
  }

  /** The lowest ("min") or highest ("max") value of a measure in a window; undefined if there is none. */
  extreme(start, measure, pick, wanted = () => true) {
    let found;
    for (const [dimension, values] of this.#byStart.get(start) ?? []) {
      if (wanted(dimension)) {
        found = found === undefined ? values[measure] : Math[pick](found, values[measure] ?? found);
      }
    }

    return found;
  }

  /** The dimensions of a window, in alphabetical order. */
  dimensions(start) {
    return [...this.#byStart.get(start)?.keys() ?? []].sort();
  }

  /**
   * The dimensions of some windows, largest first. @param starts Those on the axis: what is not on it takes no colour.
   * @param measure The measure that ranks them.
   */
  ranked(starts, measure = 0) {
    const range = `${starts[0]} ${starts.at(-1)} ${measure}`;
    if (this.#ranking?.range !== range) {
      const sums = new Map();
      for (const start of starts) {
        for (const [dimension, values] of this.#byStart.get(start) ?? []) {
          sums.set(dimension, (sums.get(dimension) ?? 0) + Math.abs(values[measure] ?? 0));
        }
      }

      this.#ranking = { range, names: [...sums.keys()].sort((a, b) => sums.get(b) - sums.get(a) || (a < b ? -1 : 1)) };
    }

    return this.#ranking.names;
  }

  /** The charted dimensions of some windows, by name. One that is shown is replaced only when it has fallen far behind, so that nothing flickers. */
  shown(starts, measure = 0) {
    // By another measure, whatever was shown before: the same for everybody.
    if (measure !== this.#shownBy) {
      this.#shown = [];
      this.#shownBy = measure;
    }

    const ranked = this.ranked(starts, measure);
    const staying = new Set(ranked.slice(0, 2 * MAX_SHOWN));
    const shown = new Set(this.#shown.filter((dimension) => staying.has(dimension)));
    for (const dimension of ranked.slice(0, MAX_SHOWN)) {
      if (shown.size < MAX_SHOWN) {
        shown.add(dimension);
      }
    }

    return this.#shown = [...shown].sort();
  }
}

/**
 * The slots on a chart's time axis. Their number is one of a few fixed ones, so that the chart does not get tighter with each
 * window; the slots of missing windows stay empty.
 * @param lengths The numbers of slots to choose from, ascending.
 * @returns {{ starts: (number|undefined)[], first: number, step: number|undefined }} window starts, oldest first; the slot of
 * the oldest window; and the usual interval between windows.
 */
export function places(starts, lengths) {
  const newest = starts.at(-1);
  const step = usual(gaps(starts));
  const recent = starts.slice(-lengths.at(-1));
  const isRegular = step && recent.every((start) => (newest - start) % step === 0);
  const needed = isRegular ? (newest - recent[0]) / step + 1 : recent.length;
  const length = lengths.find((few) => needed <= few) ?? lengths.at(-1);
  const places = isRegular
    ? Array.from({ length }, (_, index) => newest - (length - 1 - index) * step)
    : [...Array(length - recent.length).fill(undefined), ...recent];
  return { starts: places, first: places.findIndex((start) => start >= recent[0]), step };
}

const gaps = (starts) => starts.slice(1).map((start, index) => start - starts[index]);

function usual(distances) {
  const counts = new Map();
  for (const distance of distances) {
    counts.set(distance, (counts.get(distance) ?? 0) + 1);
  }

  return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0]?.[0];
}
