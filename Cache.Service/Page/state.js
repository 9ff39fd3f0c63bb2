// The line that says how far the page can be trusted, and what to do if it cannot.

import * as clock from "./clock.js";
import * as format from "./format.js";

const SILENT_MS = 4000;
const GONE_MS = 15_000;

const startedAt = Date.now();

/**
 * Judges how far what is shown can be trusted.
 * @param feed The connection to the service. @param panels The types that have windows. @param isLoaded Whether windows have been read.
 * @param shownAt When the windows shown were last known to be current, by the browser's clock; undefined if never.
 * @returns {{ tone: string, words: string, age: string, advice: string, isOld: boolean, isLost: boolean, short: string }} `age` follows the
 * words, but changes too often to be announced; `isOld` says that the windows are, `isLost` that the state of the pipeline is, too;
 * `short` is for the title, and empty if all is well.
 */
export function judge(feed, panels, isLoaded, shownAt) {
  const now = Date.now();
  const { pipeline } = feed;
  if (feed.isChecking) {
    return verdict("quiet", "Checking the key …", { short: "key required" });
  }

  if (feed.isRefused) {
    return verdict("warn", feed.isWrongKey ? "This key was not accepted." : "The service requires an API key.", { short: "key required" });
  }

  const from = shownAt ?? feed.answeredAt;
  const showing = from ? ` Showing data from ${format.time(from)}.` : "";
  const silence = now - (feed.answeredAt ?? startedAt);
  if (feed.isLost && silence > SILENT_MS || silence > GONE_MS) {
    return verdict("bad", `The service does not answer.${showing}`, {
      advice: "Check that it runs and can be reached from here. The page reconnects by itself.", isOld: true, isLost: true, short: "no answer",
    });
  }

  if (!pipeline) {
    return verdict("quiet", "Connecting …", { short: "connecting" });
  }

  if (!pipeline.ready) {
    return notReady(pipeline, isLoaded ? showing : "");
  }

  if (feed.isTypeless) {
    return verdict("warn", "The types of windows cannot be read; retrying.", { short: "loading" });
  }

  if (!isLoaded) {
    return verdict("quiet", feed.isSlow ? "Loading, as fast as the service's rate limit allows …" : "Loading …", { short: "loading" });
  }

  if (now - (feed.openAt ?? startedAt) > SILENT_MS) {
    return verdict("warn", `The stream is interrupted; reconnecting.${showing}`, {
      advice: "If this lasts, check that no proxy on the way buffers or cuts off /stream.", isOld: true, short: "interrupted",
    });
  }

  return freshness(panels, pipeline);
}

/** Ready and live: whether there is anything new, too. */
function freshness(panels, pipeline) {
  const since = (panel) => format.age(clock.now() - panel.newest);
  const stale = panels.filter((panel) => !panel.isFresh);
  if (stale.length > 0) {
    const [oldest] = stale.toSorted((a, b) => a.newest - b.newest);
    const names = list.format(stale.map(({ type }) => type.subject));
    return verdict("warn", `No new ${names} windows since ${format.time(oldest.newest, clock.now())}`, {
      age: ` (${since(oldest)}).`,
      advice: behind(pipeline) > 0
        ? "Rows wait in Kafka: see the lag."
        : "Nothing waits in Kafka. Check that the stream processor runs and sends rows with current window times.",
      short: "no new windows",
    });
  }

  const newest = panels.toSorted((a, b) => b.newest - a.newest)[0];
  return newest
    ? verdict("good", "Live.", { age: ` Newest window started ${format.ago(clock.now() - newest.newest)}.` })
    : verdict("good", "Ready, waiting for the first row.");
}

/** Not ready: what is away, and what that means for the windows shown. */
function notReady({ reasons, kafka }, showing) {
  const why = `Not ready: ${reasons.join("; ").replace(/\.$/, "")}.`;
  const isRedis = isAway(reasons, "Redis");
  const isKafka = isAway(reasons, "Kafka");
  const advice = [
    isRedis ? "Check that Redis runs and that the service can reach it." : "",
    isKafka ? `Check the brokers at ${kafka}.` : "",
    isRedis || isKafka ? "The service continues by itself, and loses no rows." : "",
  ].filter(Boolean).join(" ");
  return isRedis || isKafka
    ? verdict(isRedis ? "bad" : "warn", why + showing, { advice, isOld: true, short: `${isRedis ? "Redis" : "Kafka"} down` })
    : verdict("warn", why, { short: "not ready" });
}

const AWAY = { Redis: /\bRedis\b/, Kafka: /\bKafka (at|does not)\b/ };

/** Whether one of the reasons why the service is not ready is that a server is away: "Redis" or "Kafka". */
export const isAway = (reasons, server) => reasons.some((reason) => AWAY[server].test(reason));

const behind = ({ lag }) => lag.reduce((total, { rows }) => total + (rows ?? 0), 0);

const list = new Intl.ListFormat("en");

const verdict = (tone, words, { age = "", advice = "", isOld = false, isLost = false, short = "" } = {}) => ({ tone, words, age, advice, isOld, isLost, short });
