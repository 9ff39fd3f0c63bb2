// The way to the service: the stream, what to read again after a gap, and the pipeline's state once a second. It never gives
// up: whatever fails is tried again.

import { MOST } from "./windows.js";

const POLL_MS = 1000;
const RETRY_MS = 1500;

// The stream has a heartbeat every 15 s.
const SILENCE_MS = 40_000;

const KEY_HEADER = "X-Api-Key";
const KEY_STORE = "cache.api_key";
const SESSIONS_TOPIC = "session_metrics";
const SESSIONS = 8;

// Sessions end without an update.
const SESSIONS_MS = 15_000;

// Fields that are read at most: with thousands of dimensions fewer windows are shown.
const MOST_FIELDS = 200_000;

export class Feed {
  /** The pipeline's state as last told. */
  pipeline;

  /** When the service last answered; when the stream was last open; when the last update came. Milliseconds of this clock. */
  answeredAt;
  openAt;
  updatedAt;

  /** The active sessions, latest first; undefined where sessions are off. */
  sessions;

  /** Whether the service asks for a key, or for another one. */
  isRefused = false;

  #handlers;
  #source;
  #heardAt = 0;
  #turns = 0;
  #reloading = 0;
  #missed = [];
  #sessionsAt = 0;

  /** @param handlers reset(type, windows), update(message), changed() */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  start() {
    document.addEventListener("visibilitychange", () => document.hidden ? this.#close() : this.#open());
    this.#begin();
    this.#poll();
  }

  /** Goes on with an API key, for as long as the tab is open. */
  use(key) {
    sessionStorage.setItem(KEY_STORE, key);
    this.isRefused = false;
    this.answeredAt = Date.now();
    this.#begin();
  }

  get isOpen() {
    return this.#source?.readyState === EventSource.OPEN;
  }

  // Without waiting for the stream, which some proxies keep back.
  #begin() {
    this.#open();
    this.#reload();
  }

  #open() {
    this.#close();
    if (this.isRefused) {
      return;
    }

    this.#heardAt = Date.now();
    const source = this.#source = new EventSource(key() ? `stream?api_key=${encodeURIComponent(key())}` : "stream");
    source.addEventListener("open", () => this.#heard());
    source.addEventListener("heartbeat", () => this.#heard());
    source.addEventListener("resync", () => {
      this.#heard();
      this.#reload();
    });
    source.addEventListener("message", (event) => {
      this.#heard();
      const update = JSON.parse(event.data);
      this.updatedAt = Date.now();
      if (update.type === "session") {
        this.#sessionsAt = 0;
      }

      if (this.#reloading) {
        this.#missed.push(update);
      } else {
        this.#handlers.update(update);
      }
    });
    source.addEventListener("error", () => {
      // A lost connection the browser mends by itself; an answer that is no stream ends it for good.
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(() => source === this.#source && this.#open(), RETRY_MS);
      }
    });
  }

  // Nobody looks: costs the service nothing, and coming back reads all again.
  #close() {
    this.#source?.close();
    this.#source = undefined;
  }

  #heard() {
    this.#heardAt = this.openAt = Date.now();
  }

  /** Reads all windows; updates that come meanwhile are applied on top, since the answer may be older or newer than they. */
  async #reload() {
    const turn = ++this.#turns;
    this.#reloading = turn;
    this.#missed = [];
    this.#sessionsAt = 0;
    while (turn === this.#reloading && !this.isRefused) {
      try {
        const [events, performance] = await Promise.all([this.#windows("event"), this.#windows("performance")]);
        if (turn === this.#reloading) {
          this.#reloading = 0;
          this.#handlers.reset("event", events);
          this.#handlers.reset("performance", performance);
          this.#missed.splice(0).forEach((update) => this.#handlers.update(update));
        }
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  async #windows(type) {
    const fields = Object.keys(await read(`metrics/${type}/latest`)).length;
    const limit = Math.max(5, Math.min(MOST, Math.floor(MOST_FIELDS / Math.max(1, fields))));
    return (await read(`metrics/${type}/windows?limit=${limit}`)).windows;
  }

  async #poll() {
    if (!document.hidden && !this.isRefused) {
      try {
        this.pipeline = await read("pipeline");
        this.answeredAt = Date.now();
        await this.#readSessions();
      } catch (error) {
        // Of the rest answeredAt tells.
        if (error.status === 401) {
          this.isRefused = true;
          this.#close();
        } else if (error.status === 429) {
          this.answeredAt = Date.now();
        }
      }

      if (this.isOpen) {
        this.openAt = Date.now();
      }

      if (Date.now() - this.#heardAt > SILENCE_MS) {
        this.#open();
      }

      this.#handlers.changed();
    }

    setTimeout(() => this.#poll(), POLL_MS);
  }

  /** Once a second at most, however many sessions end in it. */
  async #readSessions() {
    if (!Object.hasOwn(this.pipeline.rows, SESSIONS_TOPIC)) {
      this.sessions = undefined;
    } else if (Date.now() - this.#sessionsAt > SESSIONS_MS) {
      this.#sessionsAt = Date.now();
      try {
        this.sessions = (await read(`sessions/active?limit=${SESSIONS}`)).sessions;
      } catch (error) {
        this.#sessionsAt = 0;
        throw error;
      }
    }
  }
}

const key = () => sessionStorage.getItem(KEY_STORE);

async function read(route) {
  const answer = await fetch(route, {
    cache: "no-store", headers: key() ? { [KEY_HEADER]: key() } : {}, signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok) {
    throw Object.assign(new Error(`${route}: ${answer.status}`), { status: answer.status });
  }

  return await answer.json();
}
