"use strict";

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const say = (text) => ($("announce").textContent = text);
const plural = (count, word) => `${count || "no"} ${word}${count === 1 ? "" : "s"}`;
const capital = (text) => text[0].toUpperCase() + text.slice(1);

function decode(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes.buffer;
}

// Rounded to `digits` first, so that the carry is not lost.
function clock(seconds, digits = 0) {
  const unit = 10 ** digits, total = Math.floor(seconds * unit + 0.5);
  const pad = (value, width = 2) => String(value).padStart(width, "0");
  const whole = Math.floor(total / unit), tail = digits ? `.${pad(total % unit, digits)}` : "";
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return (h ? `${h}:${pad(m)}` : `${m}`) + `:${pad(s)}${tail}`;
}

// Times of day: `start` is data.start of a page, or null where the start of the recording is not known.
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function local(start, seconds, unit = 1) {
  const [, zero, offset] = start.findLast(([from]) => from <= seconds + 1e-6) ?? start[0];
  return { date: new Date(Math.round((zero + seconds * 1000) / unit) * unit), offset };
}

// `03:00:14`; or the position in the video where the start is not known.
function timeOfDay(start, seconds, digits = 0) {
  if (!start) return clock(seconds, digits);
  return local(start, seconds, 1000 / 10 ** digits).date.toISOString().slice(11, digits ? 20 + digits : 19);
}

// `12 May 2023`; "" where the start is not known.
function dayOf(start, seconds, year = true) {
  if (!start) return "";
  const { date } = local(start, seconds, 1000);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}` + (year ? ` ${date.getUTCFullYear()}` : "");
}

// `12 May 03:00:14`
const dayAndTime = (start, seconds, digits = 0) => `${dayOf(start, seconds, false)} ${timeOfDay(start, seconds, digits)}`.trim();

// `2023-05-12T03:00:14.000+02:00`; "" where the start is not known.
function isoTime(start, seconds) {
  if (!start) return "";
  const { date, offset } = local(start, seconds), away = Math.abs(offset);
  const pad = (value) => String(value).padStart(2, "0");
  return `${date.toISOString().slice(0, -1)}${offset < 0 ? "-" : "+"}${pad(Math.floor(away / 60))}:${pad(away % 60)}`;
}

// Events as events.py finds them. edge(i) is the time at which score i begins.
function findEvents(scores, edge, rule) {
  const begin = Math.fround(rule.start), stop = Math.fround(rule.end), epsilon = 1e-6;
  const spans = [], n = scores.length;
  for (let i = 0; i < n; i++) {
    if (scores[i] < stop) continue;
    const start = i;
    let reached = false;
    for (; i < n && scores[i] >= stop; i++) reached ||= scores[i] >= begin;
    if (!reached) continue;
    const last = spans.at(-1);
    if (last && edge(start) - edge(last.end) < rule.gap - epsilon) last.end = i;
    else spans.push({ start, end: i });
  }
  const events = spans.filter(({ start, end }) => edge(end) - edge(start) >= rule.shortest - epsilon);
  for (const event of events) {
    event.peak = event.start;
    for (let i = event.start; i < event.end; i++) if (scores[i] > scores[event.peak]) event.peak = i;
    event.score = scores[event.peak];
  }
  return events;
}

// ---- the address: what a page shows is kept behind its #, so that it survives a reload and can be sent

const address = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

function setAddress(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const hash = new URLSearchParams(kept).toString();
  if (hash !== location.hash.slice(1)) history.replaceState(history.state, "", hash ? `#${hash}` : location.pathname + location.search);
}

// ---- verdicts: kept by the browser, or by `anomalycli review`, which puts `served` into its pages

const VERDICTS = {{ verdicts | tojson }};
const served = $("served") && JSON.parse($("served").textContent);
const unkept = {}; // where the browser keeps nothing

function recall(name) {
  try {
    return JSON.parse(localStorage.getItem(`anomalycli:${name}`));
  } catch {
    return null; // storage is forbidden, or holds something else
  }
}

function store(name, value) {
  try {
    localStorage.setItem(`anomalycli:${name}`, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

function recordOf({ key, video }) {
  const record = served ? served.records[key] : unkept[key] ?? recall(`verdicts:${key}`);
  return { video, label: null, note: "", events: [], ...record };
}

function keepRecord(key, record) {
  if (served) {
    served.records[key] = record;
    fetch(`/verdicts/${key}`, { method: "PUT", headers: { "X-Token": served.token }, body: JSON.stringify(record), keepalive: true })
      .then((reply) => reply.ok || Promise.reject(new Error(`${reply.status}`)))
      .catch(() => warn("The verdict was not saved: `anomalycli review` does not answer."));
  } else if (!store(`verdicts:${key}`, record)) {
    unkept[key] = record;
    warn("This browser keeps no verdicts: save them before you leave the page.");
  }
}

function warn(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

// How far two stretches of time are the same, from 0 to 1.
function likeness(a, b) {
  const shared = Math.min(a.end, b.end) - Math.max(a.start, b.start);
  return Math.max(0, shared) / (Math.max(a.end, b.end) - Math.min(a.start, b.start));
}

// The entry for the event from `start` to `end`, seconds: of those that cover half of it, the one most like it.
function entryOf(record, { start, end }) {
  const covers = (entry) => Math.min(end, entry.end) - Math.max(start, entry.start) >= (end - start) / 2;
  const like = (entry) => likeness(entry, { start, end });
  return record.events.filter(covers).reduce((best, entry) => (best && like(best) >= like(entry) ? best : entry), null);
}

const plain = (note) => (/^\s*[=+\-@]/.test(note) ? `'${note}` : note); // no formula for a spreadsheet

// Lines of labels.csv: 1 abnormal, 0 normal; without a time, of the whole video. "Unsure" gives none.
function labelsOf(records) {
  const lines = [];
  for (const record of records) {
    if (record.label !== null) lines.push([record.video, record.label, "", "", plain(record.note)]);
    for (const { start, end, verdict, note } of record.events) {
      if (verdict === "real" || verdict === "false") {
        lines.push([record.video, Number(verdict === "real"), start.toFixed(3), end.toFixed(3), plain(note)]);
      }
    }
  }
  return lines;
}

function saveLabels(records) {
  const lines = labelsOf(records);
  if (!lines.length) return say("There is no verdict to save yet");
  saveCSV("labels.csv", [["video", "label", "start", "end", "note"], ...lines]);
  say(`${plural(lines.length, "verdict")} saved to labels.csv`);
}

function saveCSV(name, lines) {
  const quoted = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value ?? "");
  const text = lines.map((line) => line.map(quoted).join(",") + "\n").join("");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

if (served) for (const node of document.querySelectorAll(".unserved")) node.hidden = true;
