// The table of active sessions.

import * as clock from "./clock.js";
import { headCell, turned } from "./controls.js";
import { rows } from "./dom.js";
import * as format from "./format.js";
import { sorted } from "./totals.js";
import { SESSION_COLUMNS } from "./view.js";

const LABELS = ["Session", "User", "Device", "Pages", "Duration", "Last seen"];

// The first columns are names.
const NAMES = 3;

const section = document.getElementById("sessions");

/** Lets the table be sorted. @param view What is asked. */
export function connectSessions(view) {
  section.addEventListener("click", ({ target }) => {
    const column = target.closest("[data-sort]")?.dataset.sort;
    if (column) {
      view.set({ sessions: turned(view.sessions, column, SESSION_COLUMNS.indexOf(column) < NAMES) });
    }
  });
}

/** Shows the active sessions, latest first unless they are sorted, if sessions are on. @param active undefined if they are off. */
export function showSessions(active, { sessions: sort }) {
  section.hidden = !active;
  const column = sort.replace(/^-/, "");
  const shown = sort === "" ? active ?? [] : sorted(active ?? [], (session) => session[column], sort.startsWith("-"));
  const lines = shown.map((session) => [
    { tag: "th", scope: "row", text: session.session_id, title: session.session_id },
    { text: session.user_id ?? format.absent, title: session.user_id },
    { text: session.device_category ?? format.absent, title: session.device_category },
    format.count(session.page_count),
    format.stopwatch(session.duration),
    format.ago(clock.now() - session.end_time),
  ]);
  rows(section.querySelector("thead"), [SESSION_COLUMNS.map((name, index) => headCell(LABELS[index], name, sort))]);
  rows(section.querySelector("tbody"), lines.length > 0 ? lines : [[{ text: "No active sessions", span: 6, className: "spare" }]]);
}
