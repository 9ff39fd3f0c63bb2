// The connection to the service: one read of all windows, then the stream, which brings the state of the pipeline, too. Without
// the stream, that state is polled. Everything that fails is retried, indefinitely, and ever more slowly.

import * as clock from "./clock.js";
import { backoff, currentKey, isLimited, keepKey, read, streamAddress, turn, useKey, wait } from "./http.js";
import { isAway } from "./state.js";
import { MAX_WINDOWS } from "./windows.js";

const TICK_MS = 1000;

// The stream sends the state every 2 s. If nothing has come for so long, it is polled; later, the stream is opened again.
const SILENT_MS = 7000;
const DEAD_MS = 40_000;

const POLL_MS = 5000;
const MAX_POLL_MS = 30_000;
const RETRY_MS = 1500;
const MAX_RETRY_MS = 30_000;

// How long to wait for the stream before reading windows, since what it brings from then on is not missed; and for the state.
const START_MS = 1000;
const FIRST_STATE_MS = 4000;

// Everything is read again at once after the first resync, then ever less often, until none has come for so long.
const RELOAD_MS = 2000;
const MAX_RELOAD_MS = 60_000;
const CALM_MS = 120_000;

const SESSIONS_TOPIC = "session_metrics";
const MAX_SESSIONS = 8;

// Sessions expire without an update.
const SESSIONS_POLL_MS = 60_000;
const SESSIONS_READ_MS = 3000;

// Of all types together: what a browser holds with ease.
const MAX_CHARACTERS = 24_000_000;

export class Feed {
  /** The last known state of the pipeline, and of all replicas. */
  pipeline;
  fleet;

  /** When the service last answered, the stream was last open, and the last update arrived; in milliseconds of the browser's clock. */
  answeredAt;
  openAt;
  updatedAt;

  /** Whether the last attempt to reach the service has failed. */
  isLost = false;

  /** The active sessions, latest first; undefined where sessions are off. */
  sessions;

  /** Whether the service requires a key; whether it did not accept the current one; whether it is being asked. */
  isRefused = false;
  isWrongKey = false;
  isChecking = false;

  /** Whether the list of types, without which there is nothing to show, could not be read. */
  isTypeless = false;

  #handlers;
  #source;
  #streamFailures = 0;
  #stateAt = 0;
  #heardAt = 0;

  #started;
  #types;
  #loads = 0;
  #isLoading = false;
  #missed;
  #resyncs = 0;
  #reloads = 0;
  #reloadedAt = -Infinity;
  #retry = () => {};

  #isPolling = false;
  #pollAt = 0;
  #pollFailures = 0;
  #sessionsAt = -Infinity;
  #areSessionsOld = true;

  /** @param handlers types(types), once; reset(type, windows), update(message), changed() */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  start() {
    // A hidden page costs the service nothing. When it is shown again, it reads everything again.
    document.addEventListener("visibilitychange", () => document.hidden ? this.#close() : this.#begin());
    this.#begin();
    setInterval(() => this.#tick(), TICK_MS);
  }

  /** Continues with an API key, which is kept until the tab is closed, if it is accepted. */
  async use(key) {
    useKey(key);
    [this.isChecking, this.isTypeless, this.isLost] = [true, false, false];
    try {
      // A stream that is refused does not say why.
      await this.#readTypes();
      this.isRefused = this.isWrongKey = this.isChecking = false;
      this.#begin();
    } catch (error) {
      this.isChecking = false;
      this.#failed(error);
    }

    this.#handlers.changed();
  }

  /** Whether the service limits how fast this page may read. */
  get isSlow() {
    return isLimited();
  }

  get isOpen() {
    return this.#source?.readyState === EventSource.OPEN;
  }

  #begin() {
    if (!document.hidden && !this.isRefused) {
      this.#open();
      this.#load(0);
    }
  }

  #close() {
    this.#source?.close();
    this.#source = undefined;
    this.#loads++;
    this.#isLoading = false;
  }

  #open() {
    this.#source?.close();
    this.#heardAt = Date.now();
    this.#stateAt = Math.max(this.#stateAt, this.#heardAt - SILENT_MS + FIRST_STATE_MS);
    let started;
    this.#started = Promise.race([new Promise((resolve) => started = resolve), wait(START_MS)]);
    const source = this.#source = new EventSource(streamAddress("stream?state=true"));
    const on = (name, handle) => source.addEventListener(name, (event) => {
      this.#heard();
      handle(event);
    });
    on("open", () => {});
    on("heartbeat", () => {});
    on("resync", () => {
      this.#resyncs++;
      started();
      this.#reload();
    });
    on("pipeline", ({ data }) => this.#state(JSON.parse(data)));
    on("fleet", ({ data }) => this.fleet = JSON.parse(data));
    on("message", ({ data }) => this.#update(JSON.parse(data)));
    source.addEventListener("error", () => this.#broken(source, started));
  }

  #heard() {
    this.#heardAt = this.openAt = this.answeredAt = Date.now();
    this.#streamFailures = 0;
    if (this.isLost) {
      this.isLost = false;
      this.#retry();
    }
  }

  async #broken(source, started) {
    started();
    if (source !== this.#source) {
      return;
    }

    // Only the first time: whether the service is still there.
    if (this.#streamFailures++ === 0) {
      this.#pollAt = 0;
      this.#stateAt = 0;
      this.#tick();
    }

    // The browser reconnects on its own, unless the answer was not a stream.
    if (source.readyState === EventSource.CLOSED) {
      await wait(backoff(this.#streamFailures, RETRY_MS, MAX_RETRY_MS));
      await turn();
      if (source === this.#source && !this.isRefused) {
        this.#open();
      }
    }
  }

  #update(update) {
    this.updatedAt = Date.now();
    if (update.type === "session") {
      this.#areSessionsOld = true;
    }

    if (this.#missed) {
      this.#missed.push(update);
    } else {
      this.#handlers.update(update);
    }
  }

  #state(pipeline) {
    const wasAway = this.isLost || isAway(this.pipeline?.reasons ?? [], "Redis");
    if (wasAway && !isAway(pipeline.reasons, "Redis")) {
      this.#retry();
    }

    this.pipeline = pipeline;
    clock.set(pipeline.time);
    this.answeredAt = this.#stateAt = Date.now();
    this.isLost = false;
    this.#readSessions();
    this.#handlers.changed();
  }

  /** Reads everything again after a resync; if they keep coming, ever less often, and not when every other page does. */
  #reload() {
    // One that has not begun to read windows reads what the resync is about.
    if (this.#isLoading) {
      return;
    }

    this.#reloads = Date.now() - this.#reloadedAt > CALM_MS ? 0 : this.#reloads + 1;
    this.#load(this.#reloads === 0 ? 0 : backoff(this.#reloads, RELOAD_MS, MAX_RELOAD_MS));
  }

  /** Reads all windows. Updates that arrive in the meantime are applied on top, because the answer may be older or newer. */
  async #load(delay) {
    const load = ++this.#loads;
    const isCurrent = () => load === this.#loads && !this.isRefused;
    this.#isLoading = true;
    this.#areSessionsOld = true;
    await wait(delay);
    for (let failures = 0; isCurrent();) {
      try {
        const types = await this.#readTypes();
        await this.#started;
        const resyncs = this.#resyncs;
        this.#missed = [];
        const answers = await Promise.all(types.map(({ name }) => windows(name, types.length)));
        if (isCurrent()) {
          this.#reloadedAt = Date.now();
          this.#isLoading = false;
          types.forEach(({ name }, index) => this.#handlers.reset(name, answers[index]));
          const missed = this.#missed;
          this.#missed = undefined;
          missed.forEach((update) => this.#handlers.update(update));
          if (resyncs !== this.#resyncs) {
            this.#reload();
          }
        }

        return;
      } catch (error) {
        if (isCurrent()) {
          this.#missed = undefined;
          this.#failed(error);
          this.#handlers.changed();

          // A refusal says how long to wait. Otherwise, not longer than what was away is.
          await Promise.race([wait(isLimited() ? 0 : backoff(++failures, RETRY_MS, MAX_RETRY_MS)), new Promise((resolve) => this.#retry = resolve)]);
        }
      }
    }
  }

  /** Reads the types once: they do not change while the service runs. After a restart that changes them, the page has to be reloaded. */
  #readTypes() {
    return this.#types ??= read("types").then(({ types }) => {
      keepKey();
      this.isTypeless = false;
      this.#handlers.types(types);
      return types;
    }).catch((error) => {
      this.#types = undefined;
      this.isTypeless = error.status !== 429;
      throw error;
    });
  }

  /** Notes what a failure says of the service. */
  #failed({ status }) {
    if (status === 401) {
      this.isRefused = true;
      this.isWrongKey = Boolean(currentKey());
      this.#close();
    }

    // Anything else than these comes from between the page and the service, if there was an answer at all.
    if ([401, 404, 429].includes(status)) {
      this.answeredAt = Date.now();
      this.isLost = false;
    }
  }

  #tick() {
    if (document.hidden || this.isRefused) {
      return;
    }

    const now = Date.now();
    if (this.isOpen && now - this.#heardAt < SILENT_MS) {
      this.openAt = now;
    }

    if (now - this.#heardAt > DEAD_MS && this.isOpen) {
      this.#open();
    }

    if (now - this.#stateAt > SILENT_MS && now >= this.#pollAt && !this.#isPolling) {
      this.#poll();
    }

    this.#handlers.changed();
  }

  async #poll() {
    this.#isPolling = true;
    try {
      this.#state(await read("pipeline"));
      this.fleet = await read("fleet");
      this.#pollFailures = 0;
    } catch (error) {
      this.#pollFailures++;
      this.isLost = true;
      this.#failed(error);
      this.#handlers.changed();
    }

    this.#stateAt = 0;
    this.#pollAt = Date.now() + backoff(this.#pollFailures, POLL_MS, MAX_POLL_MS);
    this.#isPolling = false;
  }

  /** Reads sessions after updates, at most every few seconds no matter how many arrive, and seldom without. */
  async #readSessions() {
    if (!Object.hasOwn(this.pipeline.rows, SESSIONS_TOPIC)) {
      this.sessions = undefined;
    } else if (Date.now() - this.#sessionsAt > (this.#areSessionsOld ? SESSIONS_READ_MS : SESSIONS_POLL_MS)) {
      this.#sessionsAt = Date.now();
      this.#areSessionsOld = false;
      try {
        this.sessions = (await read(`sessions/active?limit=${MAX_SESSIONS}`)).sessions;
        this.#handlers.changed();
      } catch {
        this.#areSessionsOld = true;
      }
    }
  }
}

/** The newest windows of a type. One that a restart has removed has none; one that is refused for now does not have the others read again. */
async function windows(type, types) {
  while (true) {
    try {
      return (await read(`metrics/${type}/windows?limit=${MAX_WINDOWS}`, MAX_CHARACTERS / Math.max(2, types))).windows;
    } catch (error) {
      if (error.status === 404) {
        return [];
      }

      if (error.status !== 429) {
        throw error;
      }
    }
  }
}
