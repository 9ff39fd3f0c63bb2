// What is asked of the page: one plain object, which the address holds. Whoever opens the address sees the same. Independent of the page.

/** The ranges to choose from: a number of newest windows, a time back from now, or all windows that the service keeps. */
export const RANGES = ["15", "60", "15m", "1h", "6h", "all"];

/** The columns of the table of sessions, by which it can be sorted. */
export const SESSION_COLUMNS = ["session_id", "user_id", "device_category", "page_count", "duration", "end_time"];

/** The columns of the table of replicas, by which it can be sorted. */
export const REPLICA_COLUMNS = ["id", "version", "started", "state", "rows_per_second", "partitions", "behind", "releasing"];

/** Maximum number of dimensions that can be picked. */
export const MAX_PICKED = 12;

const MAX_TEXT = 128;

// The year 9999: later, fields for times and other programs give up.
const MAX_TIME = 253_402_300_799_999;
const UNITS = { m: 60_000, h: 3_600_000 };

const DEFAULTS = {
  range: "60",
  from: undefined,
  to: undefined,
  paused: undefined,
  window: undefined,
  compare: false,
  totals: false,
  scale: "auto",
  utc: false,
  scheme: "system",
  wall: false,
  sessions: "",
  replicas: "",
};

const TYPE_DEFAULTS = { find: "", only: [], measure: "", style: "", sort: "" };

/** How each setting is read from a parameter's text (undefined if it is not valid) and written. Parameters are written in this order. */
const CODECS = {
  range: choice(RANGES),
  from: { read: readTime, write: writeTime },
  to: { read: readTime, write: writeTime },
  paused: { read: readTime, write: writeTime },
  window: { read: readTime, write: writeTime },
  compare: flag("before"),
  totals: flag("yes"),
  scale: choice(["auto", "full", "log"]),
  utc: flag("yes"),
  scheme: choice(["system", "light", "dark"]),
  wall: flag("yes"),
  sessions: choice(bothWays(SESSION_COLUMNS)),
  replicas: choice(bothWays(REPLICA_COLUMNS)),
};

/** The same for the settings of a type. A sort is the name of a column, after a minus for descending. */
const TYPE_CODECS = {
  find: { read: (text) => text.length <= MAX_TEXT ? text : undefined, write: String },
  measure: { read: (text, { measures }) => measures.some(({ name }) => name === text) ? text : undefined, write: String },
  style: choice(["columns", "lines"]),
  sort: {
    read: (text, { measures }) => ["dimension", ...measures.flatMap(({ name }) => [name, `${name}.change`])].includes(text.replace(/^-/, "")) ? text : undefined,
    write: String,
  },
};

function choice(values) {
  return { read: (text) => values.includes(text) ? text : undefined, write: String };
}

function bothWays(columns) {
  return columns.flatMap((column) => [column, `-${column}`]);
}

function flag(word) {
  return { read: (text) => text === word ? true : undefined, write: () => word };
}

/** The milliseconds of a time in the address: ISO 8601 with a zone, or milliseconds since 1970. */
export function readTime(text) {
  const ms = /^\d{1,15}$/.test(text) ? Number(text)
    : /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/.test(text) ? Date.parse(text) : NaN;
  return ms <= MAX_TIME ? ms : undefined;
}

function writeTime(ms) {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}

/** The length of a range in milliseconds; undefined for those that are a number of windows, or all. */
export function rangeMs(range) {
  const [, number, unit] = /^(\d+)([mh])$/.exec(range) ?? [];
  return unit && number * UNITS[unit];
}

/** The number of windows of a range; undefined for those that are a time, or all. */
export const rangeWindows = (range) => /^\d+$/.test(range) ? Number(range) : undefined;

export class View {
  #listeners = [];
  #types;

  // Parameters of types, until it is known which types there are.
  #waiting = [];

  /** What the address said that was not understood, as shown to the reader; oldest first. */
  ignored = [];

  constructor() {
    addEventListener("popstate", () => {
      this.#read();
      this.#tell();
    });
    this.#read();
  }

  /** Adds a listener, called after each change. */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** The settings of a type. Do not change them. */
  of(type) {
    return this.byType.get(type) ?? TYPE_DEFAULTS;
  }

  /** Whether new windows move the range on. */
  get isLive() {
    return this.paused === undefined && this.to === undefined;
  }

  /** Whether the range has bounds of its own. */
  get isFixed() {
    return this.to !== undefined;
  }

  /** Tells which types there are, and which measures they have; only then can their settings be checked. */
  useTypes(types) {
    this.#types = new Map(types.map((type) => [type.name, type]));
    this.#readTypes();
    this.#clean();
    this.#tell();
  }

  /**
   * Changes settings. A change that the reader would want to undo is a step back in the browser's history; what changes with
   * every key or second is not.
   */
  set(changes, isStep = true) {
    this.ignored = [];
    Object.assign(this, changes);
    this.#write(isStep);
  }

  /** Changes settings of a type. */
  setOf(type, changes, isStep = true) {
    this.ignored = [];
    this.byType.set(type, { ...this.of(type), ...changes });
    this.#write(isStep);
  }

  /** The address of the page as it is shown, as a query. */
  get query() {
    const parameters = [];
    for (const [name, { write }] of Object.entries(CODECS)) {
      if (this[name] !== DEFAULTS[name]) {
        parameters.push([name, write(this[name])]);
      }
    }

    for (const [type, settings] of this.byType) {
      for (const [name, { write }] of Object.entries(TYPE_CODECS)) {
        if (settings[name] !== TYPE_DEFAULTS[name]) {
          parameters.push([`${type}.${name}`, write(settings[name])]);
        }
      }

      settings.only.forEach((dimension) => parameters.push([`${type}.only`, dimension]));
    }

    const text = [...parameters, ...this.#waiting].map(([name, value]) => `${name}=${encode(value)}`).join("&");
    return text && `?${text}`;
  }

  #write(isStep) {
    const address = `${location.pathname}${this.query}`;
    if (address !== `${location.pathname}${location.search}`) {
      history[isStep ? "pushState" : "replaceState"](null, "", address);
    }

    this.#tell();
  }

  #tell() {
    this.#listeners.forEach((listener) => listener());
  }

  #read() {
    Object.assign(this, DEFAULTS, { byType: new Map(), ignored: [] });
    this.#waiting = [];
    const seen = new Set();
    for (const [name, text] of new URLSearchParams(location.search)) {
      const value = Object.hasOwn(CODECS, name) && !seen.has(name) ? CODECS[name].read(text) : undefined;
      seen.add(name);
      if (/^[a-z0-9_]+\.[a-z]+$/.test(name)) {
        this.#waiting.push([name, text]);
      } else if (value === undefined) {
        this.#ignore(name, text);
      } else {
        this[name] = value;
      }
    }

    if ((this.from === undefined) !== (this.to === undefined) || this.from > this.to) {
      this.#ignore(this.from === undefined ? "to" : "from", writeTime(this.from ?? this.to));
      this.from = this.to = undefined;
    }

    if (this.isFixed) {
      this.paused = undefined;
    }

    this.#readTypes();
    this.#clean();
  }

  /** Reads the settings of types, once types are known. */
  #readTypes() {
    if (!this.#types) {
      return;
    }

    const seen = new Set();
    for (const [parameter, text] of this.#waiting.splice(0)) {
      const [typeName, name] = parameter.split(".");
      const type = this.#types.get(typeName);
      const settings = { ...this.of(typeName) };
      if (type && name === "only" && text !== "" && text.length <= MAX_TEXT && settings.only.length < MAX_PICKED && !settings.only.includes(text)) {
        settings.only = [...settings.only, text];
      } else {
        const value = type && Object.hasOwn(TYPE_CODECS, name) && !seen.has(parameter) ? TYPE_CODECS[name].read(text, type) : undefined;
        seen.add(parameter);
        if (value === undefined) {
          this.#ignore(parameter, text);
          continue;
        }

        settings[name] = value;
      }

      this.byType.set(typeName, settings);
    }
  }

  /** Drops from the address what was not understood. */
  #clean() {
    if (this.ignored.length > 0) {
      history.replaceState(null, "", `${location.pathname}${this.query}`);
    }
  }

  #ignore(name, text) {
    this.ignored.push(shorten(`${name}=${text}`));
  }
}

const shorten = (text) => text.length > 60 ? `${text.slice(0, 59)}…` : text;

/** Encodes a parameter's value, but leaves what an address may hold and people can read. */
const encode = (text) => encodeURIComponent(text.toWellFormed()).replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll("%2F", "/").replaceAll("%20", "+");
