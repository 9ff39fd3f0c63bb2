// Reads the service's routes: with the reader's key, and no faster than the service allows.

const KEY_HEADER = "X-Api-Key";
const KEY_STORE = "cache.api_key";
const TIMEOUT_MS = 10_000;

// After the service has refused a request because there were too many, how long to ask one at a time.
const CALM_MS = 60_000;

let key = sessionStorage.getItem(KEY_STORE);
let spacing = 0;
let nextAt = 0;
let limitedAt = -Infinity;
let turns = Promise.resolve();

/** The key in use; null or empty if there is none. */
export const currentKey = () => key;

/** Uses another key from now on. */
export function useKey(value) {
  key = value;
}

/** Keeps the key until the tab is closed. */
export const keepKey = () => key && sessionStorage.setItem(KEY_STORE, key);

/** Whether the service has recently refused requests because there were too many. */
export const isLimited = () => Date.now() - limitedAt < CALM_MS;

/** The address of a stream, with the key, because a stream cannot send a header. */
export const streamAddress = (route) => key ? `${route}&api_key=${encodeURIComponent(key)}` : route;

/** Waits for as long as the service demands between two requests; not at all as long as it has refused none. */
export function turn() {
  if (!isLimited()) {
    return Promise.resolve();
  }

  return turns = turns.then(async () => {
    await wait(nextAt - Date.now());
    nextAt = Date.now() + spacing;
  });
}

export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The time to wait before the next attempt after some failures: doubled each time up to a maximum, and different for each page. */
export const backoff = (failures, first, most) => Math.min(most, first * 2 ** Math.max(0, failures - 1)) * (0.75 + Math.random() / 2);

/**
 * Reads a route as JSON.
 * @param maxBytes The answer may be cut after so many bytes: between two windows, of which the newest come first.
 * @throws An error, which has the `status`, the `detail` and, in seconds, the `retryAfter` of the answer, if there was one.
 */
export async function read(route, maxBytes = Infinity) {
  await turn();
  const answer = await fetch(route, { cache: "no-store", headers: key ? { [KEY_HEADER]: key } : {}, signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!answer.ok) {
    const retryAfter = Number(answer.headers.get("Retry-After"));
    if (retryAfter > 0) {
      slowDown(retryAfter * 1000);
    }

    const { detail } = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(`${route}: ${answer.status}`), { status: answer.status, detail, retryAfter });
  }

  return maxBytes === Infinity ? await answer.json() : JSON.parse(await cut(answer.body, maxBytes));
}

function slowDown(ms) {
  limitedAt = Date.now();
  spacing = ms;
  nextAt = Math.max(nextAt, limitedAt + ms);
}

/** With thousands of dimensions, 60 windows are more than a browser should hold: reads as many as fit. */
async function cut(body, maxBytes) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let json = "";
  for (let piece; json.length <= maxBytes && !(piece = await reader.read()).done;) {
    json += piece.value;
  }

  if (json.length <= maxBytes) {
    return json;
  }

  // In a name, the quote after the brace would be escaped.
  reader.cancel();
  return `${json.slice(0, json.lastIndexOf(',{"window_start":'))}]}`;
}
