// The dead letters: the last rejected rows, read when their section is open. What they hold is anybody's bytes, shown as text.

import { text } from "./dom.js";
import { time } from "./format.js";

const LIMIT = 50;
const MAX_LIMIT = 1000;
const POLL_MS = 10_000;
const FILE = "cache_dead_letters.ndjson";
const KEY_HEADER = "X-Api-Key";

/** What each reason means, and what to do: one sentence each. */
export const REASONS = {
  too_large: "The value is over 1 MiB: write one row per window and dimension, without further data.",
  not_json: "The value is not JSON: have the producer write JSON, or set schema_registry_url if it writes Avro.",
  not_an_object: "The value is JSON, but not an object: write one object per row, not a list.",
  no_window_start: "There is no window start: write the field, under the name that the metric type has for it.",
  bad_window_start: "The window start is no time that Cache reads: write milliseconds, or ISO 8601 with its zone.",
  time_in_seconds: "A time is a number of seconds: write milliseconds, or set time_unit to s for this type in metric_types.",
  future_window: "The window starts too far in the future: check the producer's clock, zone and time unit.",
  bad_window_end: "The window end is no time that Cache reads: write it as the window start, or leave it out.",
  wrong_window_length: "The window is not as long as window_seconds says: correct one of them, or use a topic of its own.",
  no_dimension: "A field of the dimension is missing: write it, with a name such as unknown where there is none.",
  bad_dimension: "A field of the dimension is not text, is empty or over 128 bytes, or has control characters or the separator: correct it.",
  no_measure: "There is no measure: write at least one, as a number.",
  bad_measure: "A measure is not a number, is negative or out of range, or is not whole where it has to be: correct it.",
  no_session_id: "There is no session id: write session_id as text.",
  bad_session_id: "The session id is not text, is empty or over 128 bytes, or has control characters: correct it.",
  no_end_time: "There is no end of the session: write end_time.",
  bad_end_time: "The end of the session is no time that Cache reads: write milliseconds, or ISO 8601 with its zone.",
  future_session: "The session ends too far in the future: check the producer's clock, zone and time unit.",
  bad_start_time: "The start of the session is no time that Cache reads, or after its end: correct it.",
  bad_user_id: "The user id is not text, is empty or over 128 bytes, or has control characters: correct it.",
  too_many_dimensions: "The window has window_max_dimensions already: use fewer dimensions, or raise it.",
  wrong_key_type: "The row was fine, but its key in Redis holds another type: delete or rename that key, then send the row again.",
  schema_unknown: "The registry does not know the row's schema: register it, then send the row again.",
  schema_unsupported: "The row's schema is neither Avro nor JSON: use one of these.",
  bad_avro: "The value is not Avro of the schema that it names: check the producer's serializer.",
};

/** The section of dead letters. */
export class Letters {
  #details;
  #read;
  #key;
  #kafka;
  #parts;
  #shown;
  #turn = 0;
  #timer;

  /**
   * Fills a section, and keeps it up to date while it is open and the page is visible.
   * @param details An empty details element.
   * @param options.read Reads a route: resolves to its JSON, or rejects with an error that has the `status` of the answer, and
   * may have the `detail` of its problem and `retryAfter` in seconds.
   * @param options.key The API key; empty or null if there is none.
   * @param options.kafka The brokers' addresses, for the command that sends rows again; undefined while unknown.
   */
  constructor(details, { read, key = () => null, kafka = () => undefined }) {
    this.#details = details;
    this.#read = read;
    this.#key = key;
    this.#kafka = kafka;
    this.#parts = this.#build();
    details.addEventListener("toggle", () => this.refresh());
    document.addEventListener("visibilitychange", () => this.refresh());
  }

  /** Reads the letters now, unless the section is closed or the page hidden; then nothing is read until that changes. */
  async refresh() {
    const turn = ++this.#turn;
    clearTimeout(this.#timer);
    if (!this.#details.open || document.hidden) {
      return;
    }

    let wait = POLL_MS;
    try {
      const answer = await this.#read(route(LIMIT, this.#parts.reason.value));
      if (turn !== this.#turn) {
        return;
      }

      this.#show(answer);
    } catch (error) {
      if (turn !== this.#turn) {
        return;
      }

      wait = Math.max(wait, (error.retryAfter ?? 0) * 1000);
      text(this.#parts.state, problem(error));
    }

    this.#timer = setTimeout(() => this.refresh(), wait);
  }

  #build() {
    const reason = element("select");
    reason.append(option("", "All"), ...Object.keys(REASONS).map((name) => option(name, name)));
    reason.addEventListener("change", () => this.refresh());
    const label = element("label", "Reason ");
    label.append(reason);

    const refresh = button("Refresh", () => this.refresh());
    const save = button("Save as NDJSON", () => this.#save());
    const controls = element("p");
    controls.append(label, " ", refresh, " ", save);

    const state = element("p", "Loading …", "muted");
    state.setAttribute("role", "status");
    const list = element("ol", "", "letters");
    const command = element("pre");
    const again = element("div");
    again.append(
      element("p", "To send rows again: save them as a file, correct them there or at their producer, and run"),
      command,
      element("p", "A row that is sent again replaces what newer rows have written to its window since.", "muted"));

    // Not an h2, whose block would put the marker on a line of its own.
    const title = element("strong", "Dead letters");
    title.setAttribute("role", "heading");
    title.ariaLevel = "2";
    const summary = element("summary");
    summary.append(title);
    this.#details.replaceChildren(summary, element("p", "The last rows that were rejected, newest first.", "muted"), controls, state, list, again);
    return { reason, save, state, list, command };
  }

  #show(answer) {
    const { letters, complete, scanned } = answer;
    const { list, state, command, reason } = this.#parts;
    const none = reason.value ? `No row was rejected because of ${reason.value}` : "No row was rejected";
    const extent = complete ? "" : ` There may be older ones: the last ${scanned} dead letters were looked at.`;
    text(state, letters.length === 0 ? `${none}${complete ? ", as far as dead letters are kept." : "."}${extent}` : `${count(letters.length)}.${extent}`);
    text(command, `dotnet run --project Cache.Producer.Simulator -- --ConnectionStrings:kafka ${this.#kafka() ?? "broker:9092"} --file ${FILE}`);

    // What somebody reads or copies right now stays as it is, and so does what has not changed.
    const shown = JSON.stringify(letters);
    const selection = getSelection();
    if (shown !== this.#shown && (selection.isCollapsed || !list.contains(selection.anchorNode))) {
      this.#shown = shown;
      list.replaceChildren(...letters.map(item));
    }
  }

  async #save() {
    const { save, state, reason } = this.#parts;
    save.disabled = true;
    try {
      const key = this.#key();
      const answer = await fetch(`${route(MAX_LIMIT, reason.value)}&format=ndjson`, { cache: "no-store", headers: key ? { [KEY_HEADER]: key } : {} });
      if (!answer.ok) {
        const { detail } = await answer.json().catch(() => ({}));
        throw Object.assign(new Error(`${answer.status}`), { status: answer.status, detail });
      }

      const lines = await answer.text();
      download(lines);
      const rows = lines.split("\n").filter((line) => line !== "");
      const isComplete = rows.length === 0 || JSON.parse(rows.at(-1)).complete !== false;
      text(state, `Saved ${FILE}: ${count(rows.length - (isComplete ? 0 : 1))}.${isComplete ? "" : " There may be older ones, which are not in it."}`);
    } catch (error) {
      text(state, `Nothing was saved. ${problem(error)}`);
    } finally {
      save.disabled = false;
    }
  }
}

/**
 * Splits text into parts, so that nothing is invisible: control characters, spaces other than the plain one, byte order marks, joiners and
 * marks of direction become escapes.
 * @returns {{ text: string, isEscape: boolean }[]}
 */
export function visible(value) {
  const parts = [];
  let at = 0;
  for (const { 0: found, index } of value.matchAll(INVISIBLE)) {
    add(value.slice(at, index), false);
    add(SHORT[found] ?? escape(found.codePointAt(0)), true);

    // The line still breaks where it does.
    add(found === "\n" ? "\n" : "", false);
    at = index + found.length;
  }

  add(value.slice(at), false);
  return parts;

  function add(part, isEscape) {
    if (part !== "") {
      parts.push({ text: part, isEscape });
    }
  }
}

/** The same for bytes that are not UTF-8, from Base64: all but ASCII become escapes such as \xC3. */
export function visibleBytes(base64) {
  const parts = [];
  for (const [run] of atob(base64).matchAll(/[ -~]+|[^ -~]/g)) {
    const isEscape = run < " " || run > "~";
    parts.push({ text: isEscape ? `\\x${run.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}` : run, isEscape });
  }

  return parts;
}

// Unassigned and private characters are among them, because no font shows them.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}/gu;
const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

const escape = (code) => code > 0xFFFF ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, "0")}`;

const route = (limit, reason) => `dead-letters?limit=${limit}${reason ? `&reason=${encodeURIComponent(reason)}` : ""}`;

const count = (letters) => letters === 1 ? "1 row" : `${letters} rows`;

function problem({ status, detail }) {
  if (status === 404) {
    return "Dead letters are not kept here: cache_dead_letter_topic is empty, so rejected rows are only logged and counted.";
  }

  if (detail) {
    return detail;
  }

  return status === 401 ? "The service asks for an API key."
    : status === 429 ? "Too many requests; it continues shortly."
    : status === 503 ? "Kafka does not hand over the dead letters. /dead-letters says why."
    : "The service does not answer.";
}

function item(letter) {
  const entry = element("li");
  const head = element("p");
  head.append(element("strong", letter.reason ?? "unknown"), " ", element("span", letter.reason ? REASONS[letter.reason] ?? "" : "It has no headers of Cache: somebody else wrote it to this topic."));
  const where = element("p", "", "where muted");
  where.append([
    letter.topic === null ? "origin unknown" : `${letter.topic}, partition ${letter.partition ?? "?"}, offset ${letter.offset ?? "?"}`,
    `rejected ${time(letter.rejected)}`,
    letter.truncated ? `${letter.bytes.toLocaleString()} bytes, shortened` : "",
  ].filter(Boolean).join(" · "));
  if (letter.key !== null || letter.key_base64 !== undefined) {
    const key = element("code");
    fill(key, letter.key, letter.key_base64);
    where.append(" · key ", key);
  }

  const row = element("pre", "", "bytes");
  row.tabIndex = 0;
  row.setAttribute("role", "group");
  row.ariaLabel = "Row";
  if (letter.value === null && letter.value_base64 === undefined) {
    text(row, letter.truncated ? "The value was too large to be kept; it is still where it came from." : "The row has no value.");
  } else {
    fill(row, letter.value, letter.value_base64);
  }

  entry.append(head, where, row);
  return entry;
}

function fill(holder, value, base64) {
  const parts = base64 === undefined ? visible(value) : visibleBytes(base64);
  holder.replaceChildren(...parts.map((part) => part.isEscape ? element("mark", part.text) : part.text));
}

function element(tag, content = "", className = "") {
  const created = document.createElement(tag);
  text(created, content);
  if (className) {
    created.className = className;
  }

  return created;
}

function option(value, label) {
  const created = element("option", label);
  created.value = value;
  return created;
}

function button(label, onClick) {
  const created = element("button", label);
  created.type = "button";
  created.addEventListener("click", onClick);
  return created;
}

function download(lines) {
  const address = URL.createObjectURL(new Blob([lines], { type: "application/x-ndjson" }));
  const link = element("a");
  link.href = address;
  link.download = FILE;
  link.click();

  // Not at once: the download begins after the click.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
