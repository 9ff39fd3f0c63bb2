// The newest windows of one type, from answers and updates. Independent of the page.

/** Maximum number of windows that the page keeps and charts. */
export const MAX_WINDOWS = 60;

/** Maximum number of dimensions with a colour of their own. */
export const MAX_SHOWN = 7;

export class Windows {
  #byStart = new Map();
  #shown = [];
  #none;

  /** @param measures The names of the type's measures; the first one ranks dimensions. */
  constructor(measures) {
    this.measures = measures;
    this.#none = measures.map(() => undefined);
  }

  /** Window starts, oldest first. */
  get starts() {
    return [...this.#byStart.keys()].sort((a, b) => a - b);
  }

  get isEmpty() {
    return this.#byStart.size === 0;
  }

  /** Replaces all windows with an answer of /metrics/…/windows. */
  replace(windows) {
    this.#byStart.clear();
    for (const { window_start: start, ...fields } of windows) {
      this.merge(start, fields);
    }
  }

  /** Merges fields into a window: those of an update, or all of them. */
  merge(start, fields) {
    let window = this.#byStart.get(start);
    if (!window) {
      this.#byStart.set(start, window = new Map());
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

    if (this.#byStart.size > MAX_WINDOWS) {
      this.#byStart.delete(Math.min(...this.#byStart.keys()));
    }
  }

  /** The values of a dimension in a window, one for each measure; undefined if missing. */
  values(start, dimension) {
    return this.#byStart.get(start)?.get(dimension) ?? this.#none;
  }

  /** The sum of a measure in a window, over the dimensions that a filter selects. */
  total(start, measure, wanted = () => true) {
    let sum = 0;
    for (const [dimension, values] of this.#byStart.get(start) ?? []) {
      sum += wanted(dimension) ? values[measure] ?? 0 : 0;
    }

    return sum;
  }

  /** The lowest ("min") or highest ("max") value of a measure in a window; undefined if there is none. */
  extreme(start, measure, pick) {
    let found;
    for (const values of this.#byStart.get(start)?.values() ?? []) {
      found = found === undefined ? values[measure] : Math[pick](found, values[measure] ?? found);
    }

    return found;
  }

  /** The dimensions of a window, in alphabetical order. */
  dimensions(start) {
    return [...this.#byStart.get(start)?.keys() ?? []].sort((a, b) => a < b ? -1 : 1);
  }

  /** The number of distinct dimensions across all windows. */
  get dimensionCount() {
    return new Set([...this.#byStart.values()].flatMap((window) => [...window.keys()])).size;
  }

  /**
   * The charted dimensions, in stable order: a dimension loses its slot (and its colour) only when it has fallen far behind, so
   * that nothing flickers.
   */
  get shown() {
    const sums = new Map();
    for (const window of this.#byStart.values()) {
      for (const [dimension, values] of window) {
        sums.set(dimension, (sums.get(dimension) ?? 0) + Math.abs(values[0] ?? 0));
      }
    }

    const ranked = [...sums.keys()].sort((a, b) => sums.get(b) - sums.get(a) || (a < b ? -1 : 1));
    const staying = new Set(ranked.slice(0, 2 * MAX_SHOWN));
    const places = this.#shown.map((dimension) => staying.has(dimension) ? dimension : undefined);
    for (const dimension of ranked.slice(0, MAX_SHOWN)) {
      if (!places.includes(dimension)) {
        const free = places.indexOf(undefined);
        if (free >= 0) {
          places[free] = dimension;
        } else if (places.length < MAX_SHOWN) {
          places.push(dimension);
        }
      }
    }

    return this.#shown = places.filter((dimension) => dimension !== undefined);
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
  const step = usual(starts.slice(1).map((start, index) => start - starts[index]));
  const recent = starts.slice(-lengths.at(-1));
  const isRegular = step && recent.every((start) => (newest - start) % step === 0);
  const needed = isRegular ? (newest - recent[0]) / step + 1 : recent.length;
  const length = lengths.find((few) => needed <= few) ?? lengths.at(-1);
  const places = isRegular
    ? Array.from({ length }, (_, index) => newest - (length - 1 - index) * step)
    : [...Array(length - recent.length).fill(undefined), ...recent];
  return { starts: places, first: places.findIndex((start) => start >= recent[0]), step };
}

function usual(distances) {
  const counts = new Map();
  for (const distance of distances) {
    counts.set(distance, (counts.get(distance) ?? 0) + 1);
  }

  return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0]?.[0];
}
