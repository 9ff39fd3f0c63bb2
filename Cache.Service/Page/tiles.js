// What one replica says of its pipeline: the tiles.

import * as clock from "./clock.js";
import { text } from "./dom.js";
import * as format from "./format.js";
import { isAway } from "./state.js";

const byId = (id) => document.getElementById(id);
const sum = (values) => Object.values(values).reduce((total, value) => total + value, 0);

let rowsBefore;

/** Shows an answer of /pipeline. */
export function showPipeline(pipeline) {
  const consumed = sum(pipeline.rows);
  if (rowsBefore?.instance === pipeline.instance && pipeline.time > rowsBefore.time) {
    tile("rate", `${format.rate((consumed - rowsBefore.rows) * 1000 / (pipeline.time - rowsBefore.time))} /s`);
  }

  // Averaged over a few seconds, so that a single flush does not make it jump.
  if (rowsBefore?.instance !== pipeline.instance || pipeline.time - rowsBefore.time > 5000) {
    rowsBefore = { instance: pipeline.instance, time: pipeline.time, rows: consumed };
  }

  tile("rate-note", `${format.count(consumed)} since start`);
  showLag(pipeline);

  tile("queue", `${format.count(pipeline.queue.rows)} of ${format.count(pipeline.queue.most)}`, pipeline.queue.rows >= pipeline.queue.most ? "warn" : "");
  tile("queue-note", `${format.count(pipeline.pending)} not committed`);

  const flush = pipeline.last_flush;
  tile("flush", flush ? format.ago(clock.now() - flush.time) : format.absent);
  tile("flush-note", flush ? `${format.count(flush.rows)} ${flush.rows === 1 ? "row" : "rows"} in ${format.duration(flush.seconds * 1000)}` : "none yet");

  const letters = sum(pipeline.dead_letters);
  const worst = Object.entries(pipeline.dead_letters).sort((a, b) => b[1] - a[1]).map(([reason, number]) => `${format.count(number)} ${reason}`).join(", ");
  tile("letters", format.count(letters), letters > 0 ? "warn" : "");
  tile("letters-note", letters === 0 ? "since start" : worst, "", worst);

  text(byId("replica"), `Pipeline figures: replica ${pipeline.instance}`);
}

function showLag({ lag: partitions, reasons }) {
  const known = partitions.filter((partition) => partition.rows !== null);
  const lag = known.reduce((total, partition) => total + partition.rows, 0);
  const behind = Math.max(0, ...known.map((partition) => partition.seconds));

  // The ends that are known are old then.
  const isUnknown = known.length === 0 || isAway(reasons, "Kafka");
  tile("lag", isUnknown ? format.absent : `${format.count(lag)} ${lag === 1 ? "row" : "rows"}`);
  tile("lag-note", partitions.length === 0 ? "no partitions" : isUnknown ? "not known" : behind === 0 ? "up to date" : `${format.duration(behind * 1000)} behind`);
}

function tile(id, value, tone = "", title = "") {
  const element = byId(id);
  text(element, value);
  element.dataset.tone = tone;
  element.title = title;
}
