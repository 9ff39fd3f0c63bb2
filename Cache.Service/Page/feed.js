// The connection to the service: the stream, reads after a resync, and the pipeline's state once per second. Everything that
// fails is retried, indefinitely.

import { MAX_WINDOWS } from "./windows.js";

const POLL_MS = 1000;
const RETRY_MS = 1500;

// The stream sends a heartbeat every 15 s.
const HEARTBEAT_TIMEOUT_MS = 40_000;

const KEY_HEADER = "X-Api-Key";
const KEY_STORE = "cache.api_key";
const SESSIONS_TOPIC = "session_metrics";
const MAX_SESSIONS = 8;

// Poll, because sessions expire without an update.
const SESSIONS_POLL_MS = 15_000;

// With thousands of dimensions, or many types, fewer windows are read.
const MAX_FIELDS = 400_000;

export class Feed {
  /** The last known state of the pipeline. */
  pipeline;

  /** When the service last answered, the stream was last open, and the last update arrived; in milliseconds of the browser's clock. */
  answeredAt;
  openAt;
  updatedAt;

  /** The active sessions, latest first; undefined where sessions are off. */
  sessions;

  /** Whether the service requires a key, or rejected the current one. */
  isRefused = false;

  /** Whether the list of types, without which there is nothing to show, could not be read. */
  isTypeless = false;

  #handlers;
  #source;
  #heardAt = 0;
  #types;
  #turns = 0;
  #reloading = 0;
  #missed = [];
  #sessionsAt = 0;

  /** @param handlers types(types), once; reset(type, windows), update(message), changed() */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  start() {
    document.addEventListener("visibilitychange", () => document.hidden ? this.#close() : this.#open());
    this.#begin();
    this.#poll();
  }

  /** Continues with an API key, which is kept until the tab is closed. */
  use(key) {
    sessionStorage.setItem(KEY_STORE, key);
    this.isRefused = this.isTypeless = false;
    this.answeredAt = Date.now();
    this.#begin();
  }

  get isOpen() {
    return this.#source?.readyState === EventSource.OPEN;
  }

  // Do not wait for the stream before reading: some proxies buffer it.
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
      // The browser reconnects on its own, unless the answer was not a stream.
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(() => source === this.#source && this.#open(), RETRY_MS);
      }
    });
  }

  // A hidden page costs the service nothing. When it is shown again, it reads everything again.
  #close() {
    this.#source?.close();
    this.#source = undefined;
  }

  #heard() {
    this.#heardAt = this.openAt = Date.now();
  }

  /** Reads all windows. Updates that arrive in the meantime are applied on top, because the answer may be older or newer. */
  async #reload() {
    const turn = ++this.#turns;
    this.#reloading = turn;
    this.#missed = [];
    this.#sessionsAt = 0;
    while (turn === this.#reloading && !this.isRefused) {
      try {
        const types = await this.#readTypes();
        const answers = await Promise.all(types.map(({ name }) => this.#windows(name, types.length).catch(noneIfGone)));
        if (turn === this.#reloading) {
          this.#reloading = 0;
          types.forEach(({ name }, index) => this.#handlers.reset(name, answers[index]));
          this.#missed.splice(0).forEach((update) => this.#handlers.update(update));
        }
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** Reads the types once: they do not change while the service runs. After a restart that changes them, the page has to be reloaded. */
  #readTypes() {
    return this.#types ??= read("types").then(({ types }) => {
      this.isTypeless = false;
      this.#handlers.types(types);
      return types;
    }).catch((error) => {
      this.isTypeless = true;
      this.#types = undefined;
      throw error;
    });
  }

  async #windows(type, types) {
    const fields = Object.keys(await read(`metrics/${type}/latest`)).length;
    const limit = Math.max(5, Math.min(MAX_WINDOWS, Math.floor(MAX_FIELDS / Math.max(2, types) / Math.max(1, fields))));
    return (await read(`metrics/${type}/windows?limit=${limit}`)).windows;
  }

  async #poll() {
    if (!document.hidden && !this.isRefused) {
      try {
        this.pipeline = await read("pipeline");
        this.answeredAt = Date.now();
        await this.#readSessions();
      } catch (error) {
        // All other failures show in answeredAt.
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

      if (Date.now() - this.#heardAt > HEARTBEAT_TIMEOUT_MS) {
        this.#open();
      }

      this.#handlers.changed();
    }

    setTimeout(() => this.#poll(), POLL_MS);
  }

  /** Reads sessions at most once per second, no matter how many updates arrive. */
  async #readSessions() {
    if (!Object.hasOwn(this.pipeline.rows, SESSIONS_TOPIC)) {
      this.sessions = undefined;
    } else if (Date.now() - this.#sessionsAt > SESSIONS_POLL_MS) {
      this.#sessionsAt = Date.now();
      try {
        this.sessions = (await read(`sessions/active?limit=${MAX_SESSIONS}`)).sessions;
      } catch (error) {
        this.#sessionsAt = 0;
        throw error;
      }
    }
  }
}

/** A type that a restart removed has no windows, and does not hold up the others. */
function noneIfGone(error) {
  if (error.status === 404) {
    return [];
  }

  throw error;
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
