// The windows of one type that are asked for. The live windows are enough for the newest 60; anything else is read once per change
// of what is asked, and kept up to date by the stream. Independent of the page.

import { backoff, wait } from "./http.js";
import { rangeMs, rangeWindows } from "./view.js";
import { MAX_WINDOWS, Windows, places } from "./windows.js";

/** Maximum number of windows that are read and charted; with many dimensions, fewer. */
const MAX_READ = 1500;
const MAX_VALUES = 400_000;

const RETRY_MS = 3000;
const MAX_RETRY_MS = 60_000;

export class History {
  /** Whether an answer is being waited for. */
  isLoading = false;

  /** Whether there are older windows in the range than were read. */
  isPart = false;

  #type;
  #isReady = false;
  #live;
  #read;
  #changed;
  #asked;
  #shown;
  #bounds;
  #windows;
  #missed;

  /**
   * @param type A type as described by types.js. @param live Its live windows. @param read Reads a route.
   * @param changed Called when the windows asked for have arrived.
   */
  constructor(type, live, read, changed) {
    this.#type = type;
    this.#live = live;
    this.#read = read;
    this.#changed = changed;
  }

  /**
   * The windows that a view asks for; what is there of them while they are being read.
   * @param now The service's time.
   * @returns {{ windows: Windows, starts: number[], length: number|undefined, shift: number|undefined, from: number|undefined, to: number|undefined }}
   * the windows of the range and those before; the starts in the range, oldest first; their length; how far the period
   * before lies back, if there is one; and the range's bounds, as far as it has any.
   */
  show(view, now) {
    const length = this.#live.length ?? this.#windows?.length;
    const range = this.#range(view, now, length);
    if (!range.query) {
      this.#forget();
    } else if (this.#isReady) {
      this.#load(range);
    }

    const windows = this.#windows ?? this.#live;
    const inside = windows.starts.filter((start) => start >= (range.from ?? -Infinity) && start <= (range.to ?? Infinity));

    // Windows from before a gap as long as the axis are not on it, and so count for nothing.
    const axis = range.count && new Set(places(inside, [range.count]).starts);
    const starts = axis ? inside.filter((start) => axis.has(start)) : inside;
    const span = !range.count ? range.length : length && starts.length > 0 ? starts.at(-1) - starts[0] + length : undefined;
    return { windows, starts, length, shift: span, from: range.from, to: range.to };
  }

  /** Merges an update. */
  merge(start, fields) {
    if (this.#bounds && start >= this.#bounds.from && start <= this.#bounds.to) {
      this.#missed?.push([start, fields]);
      this.#windows?.merge(start, fields);
    }
  }

  /** To be called when the live windows have been read, again: updates may have been missed. */
  reset() {
    this.#isReady = true;
    this.#asked = this.#missed = undefined;
  }

  #forget() {
    this.#asked = this.#shown = this.#windows = this.#bounds = this.#missed = undefined;
    this.isLoading = this.isPart = false;
  }

  /** The bounds of a view, and what has to be read for it; no query if the live windows are enough. */
  #range(view, now, windowMs = 0) {
    const periods = view.compare ? 2 : 1;
    if (view.isFixed) {
      const length = view.to - view.from + windowMs;
      return { from: view.from, to: view.to, length, query: { from: view.from - (periods - 1) * length, to: view.to } };
    }

    const to = view.paused;
    const count = rangeWindows(view.range);
    if (count) {
      return { to, count, query: to === undefined && count * periods <= MAX_WINDOWS ? undefined : { to, limit: count * periods } };
    }

    // Complete windows, and the one that is filling.
    const length = rangeMs(view.range);
    const until = to ?? now;
    const from = length && (windowMs ? until - until % windowMs : until + 1) - length;
    return { from, to, length, query: { from: length && from - (periods - 1) * length, to }, name: `${view.range} ${periods}` };
  }

  async #load({ query, name, to }) {
    const asked = to === undefined && name ? name : JSON.stringify(query);
    if (asked === this.#asked) {
      return;
    }

    this.#asked = asked;
    this.isLoading = asked !== this.#shown;
    this.#windows = this.isLoading ? undefined : this.#windows;
    this.#bounds = { from: query.from ?? -Infinity, to: query.to ?? Infinity };
    const missed = this.#missed = [];
    const most = this.#most();
    const limit = Math.min(query.limit ?? most + 1, most + 1);
    const bounds = Object.entries({ ...query, limit }).filter(([, value]) => value !== undefined).map(([bound, value]) => `${bound}=${value}`);
    for (let failures = 0; asked === this.#asked && missed === this.#missed;) {
      try {
        const { windows } = await this.#read(`metrics/${this.#type.name}/windows?${bounds.join("&")}`);
        if (missed === this.#missed) {
          this.#shown = asked;
          this.isPart = windows.length > most;
          this.#windows = new Windows(this.#live.measures, this.#type.windowMs, 2 * MAX_READ);
          this.#windows.replace(windows.slice(0, most));
          missed.forEach(([start, fields]) => this.#windows.merge(start, fields));
          this.#missed = undefined;
          this.isLoading = false;
          this.#changed();
        }

        return;
      } catch {
        await wait(backoff(++failures, RETRY_MS, MAX_RETRY_MS));
      }
    }
  }

  /** How many windows are read, so that neither the service nor the page has to hold too many values. */
  #most() {
    const newest = this.#live.starts.slice(-2).map((start) => this.#live.dimensions(start).length);
    return Math.max(60, Math.min(MAX_READ, Math.floor(MAX_VALUES / Math.max(1, ...newest) / this.#live.measures.length)));
  }
}
