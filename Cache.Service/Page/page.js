// Puts the page together: what the feed delivers goes to the panels, and everything is drawn at once, a few times per second.

import { canDraw, look } from "./charts.js";
import * as clock from "./clock.js";
import * as controls from "./controls.js";
import { text } from "./dom.js";
import { Feed } from "./feed.js";
import { connectFleet, showFleet } from "./fleet.js";
import * as format from "./format.js";
import { currentKey, read } from "./http.js";
import { Letters } from "./letters.js";
import { Panel } from "./panel.js";
import * as picked from "./picked.js";
import { connectSessions, showSessions } from "./sessions.js";
import { isAway, judge } from "./state.js";
import { showPipeline } from "./tiles.js";
import { describe } from "./types.js";
import { View } from "./view.js";

const DRAW_MS = 250;

const byId = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");

const view = new View();
const panels = [];
const panelOf = (name) => panels.find(({ type }) => type.name === name);

/** Whether windows have been read. */
let isLoaded = false;

/** When the windows shown were last known to be current. */
let currentAt;

const feed = new Feed({
  types(types) {
    panels.push(...types.map((type) => new Panel(describe(type), view, draw)));
    view.useTypes(types);
    draw();
  },
  reset(type, windows) {
    isLoaded = true;
    panelOf(type).reset(windows);
    draw();
  },
  update({ type, window_start: start, fields }) {
    panelOf(type)?.merge(start, fields);
    draw();
  },
  changed: draw,
});

const used = () => panels.filter(({ windows }) => !windows.isEmpty);

function showState() {
  const verdict = judge(feed, used(), isLoaded, currentAt);
  if (isLoaded && !verdict.isOld && !feed.isRefused) {
    currentAt = feed.answeredAt;
  }

  const needsKey = feed.isRefused || feed.isChecking;
  byId("state").dataset.tone = verdict.tone;
  text(byId("state-text"), verdict.words);
  text(byId("state-age"), verdict.age);
  text(byId("state-advice"), verdict.advice);
  byId("main").classList.toggle("stale", verdict.isOld);
  byId("main").classList.toggle("lost", verdict.isLost);
  byId("main").classList.toggle("locked", needsKey);
  byId("key").hidden = !needsKey;
  byId("key").querySelector("button").disabled = feed.isChecking;
  text(byId("key-wrong"), feed.isWrongKey && !feed.isChecking ? "This key was not accepted." : "");
  document.title = verdict.short ? `Cache: ${verdict.short}` : "Cache";
}

function showPipelineState(pipeline) {
  for (const { type, newest } of pipeline.windows ?? []) {
    const panel = panelOf(type);
    if (panel) {
      panel.newestKnown = newest;
    }
  }

  showPipeline(pipeline);
  showSessions(feed.sessions, view);
  byId("fleet").hidden = !feed.fleet;
  if (feed.fleet) {
    showFleet(feed.fleet, view);
  }
}

/** Whether windows are expected any moment. What stands below them is not shown before, so that nothing moves. */
const isWaiting = () => !isLoaded && !(feed.pipeline && isAway(feed.pipeline.reasons, "Redis"));

/** Before the first window, shows how to send one, as soon as it would arrive. */
function showEmpty({ kafka, ready }) {
  const isEmpty = isLoaded && used().length === 0;
  byId("empty").hidden = !isEmpty;
  byId("empty-how").hidden = !ready;
  byId("empty-wait").hidden = ready;
  if (isEmpty && !byId("empty-kcat").textContent) {
    const row = { window_start: Math.floor(clock.now() / 60_000) * 60_000, event_type: "page_view", event_count: 12, user_count: 5 };
    text(byId("empty-simulator"), `dotnet run --project Cache.Producer.Simulator -- --ConnectionStrings:kafka ${kafka}`);
    text(byId("empty-kcat"), `echo '${JSON.stringify(row)}' | kcat -P -b ${kafka} -t event_metrics`);
  }
}

function showWindows(fromScratch) {
  byId("charts").hidden = used().length === 0 && !isWaiting();
  byId("operations").hidden = byId("footer").hidden = isWaiting();
  byId("tables").hidden = used().length === 0;
  if (isLoaded && byId("charts").children.length !== panels.length) {
    byId("charts").replaceChildren(...panels.map((panel) => panel.card));
    byId("tables").replaceChildren(...panels.map((panel) => panel.tableCard));
  }

  byId("charts").classList.toggle("loading", !isLoaded);
  if (isLoaded) {
    panels.forEach((panel) => panel.draw(colors, fromScratch));
  }
}

let due;
let drawnAt = 0;
let colors;

/** Schedules a redraw, and limits how often that happens. */
function draw() {
  due ??= setTimeout(() => requestAnimationFrame(() => {
    due = undefined;
    drawnAt = Date.now();
    const fromScratch = !colors;
    colors ??= look();
    if (feed.pipeline) {
      showPipelineState(feed.pipeline);
      showEmpty(feed.pipeline);
    }

    showState();
    showWindows(fromScratch);
  }), Math.max(0, drawnAt + DRAW_MS - Date.now()));
}

function recolor() {
  colors = undefined;
  draw();
}

dark.addEventListener("change", recolor);

/** Shows what is asked. */
function showView() {
  format.setZone(view.utc ? "utc" : "local");
  text(byId("zone"), `Times are ${view.utc ? "in UTC" : `local (${format.zoneName()})`}`);
  const { scheme } = document.documentElement.dataset;
  controls.show(view);
  if (picked.pinnedTime() !== view.window) {
    picked.pin(view.window);
  }

  scheme === document.documentElement.dataset.scheme ? draw() : recolor();
}

controls.connect(view, clock.now);
connectSessions(view);
connectFleet(view);
view.onChange(showView);
showView();

// Not a step back each: a window is picked with every key.
picked.onChange(() => picked.pinnedTime() !== view.window && view.set({ window: picked.pinnedTime() }, false));

byId("key").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!feed.isChecking) {
    feed.use(byId("key").querySelector("input").value);

    // At once, so that a second click does nothing.
    showState();
  }
});

// Numbers follow the pointer with each frame; charts need not be drawn again for that. They follow keys at once: the next one may come
// before the next frame, and on another chart.
let isPointing = false;
picked.onChange(() => {
  if (picked.time() === picked.pinnedTime()) {
    panels.forEach((panel) => panel.point());
  } else if (!isPointing) {
    isPointing = true;
    requestAnimationFrame(() => {
      isPointing = false;
      panels.forEach((panel) => panel.point());
    });
  }
});

// In a search field, the key clears what was typed.
document.addEventListener("keydown", ({ key, target }) => key === "Escape" && target.localName !== "input" && picked.pin(undefined));

if (!canDraw()) {
  byId("chart-library").addEventListener("load", draw);
}

// The number of dead letters leads to them.
document.querySelector("a[href='#dead-letters']").addEventListener("click", (event) => {
  event.preventDefault();
  byId("dead-letters").open = true;
  byId("dead-letters").scrollIntoView();
  byId("dead-letters").querySelector("summary").focus();
});

new Letters(byId("dead-letters"), { read, key: currentKey, kafka: () => feed.pipeline?.kafka });
feed.start();

// Ages change even if nothing arrives.
setInterval(draw, 1000);
draw();
