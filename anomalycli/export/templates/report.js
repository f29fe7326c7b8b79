"use strict";

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
const scores = new Float32Array(decode(data.scores));
const times = data.times && new Uint32Array(decode(data.times)); // milliseconds, where the rate is variable
const n = scores.length;
const video = $("video");
const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;

// ---- time and frames

const edge = (frame) => {
  if (!times) return frame / data.fps;
  return frame < n ? times[frame] / 1000 : times[n - 1] / 1000 + 1 / data.fps;
};
const duration = edge(n);
const highestFrame = scores.reduce((best, score, frame) => (score > scores[best] ? frame : best), 0);

function frameAt(seconds) {
  let low = 0, high = n - 1;
  if (!times) return Math.min(Math.max(Math.floor(seconds * data.fps + 1e-6), low), high);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] / 1000 <= seconds + 1e-6) low = middle;
    else high = middle - 1;
  }
  return low;
}

function clock(seconds, digits = 0) {
  const whole = Math.floor(seconds);
  const pad = (value) => String(value).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = digits ? (seconds - whole).toFixed(digits).replace(/^1/, "0").slice(1) : "";
  return (h ? `${h}:${pad(m)}` : `${m}`) + `:${pad(s)}${tail}`;
}

// ---- events: as in events.py

function findEvents(rule) {
  const begin = Math.fround(rule.start), stop = Math.fround(rule.end), epsilon = 1e-6;
  const spans = [];
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

// ---- the curve, from a pyramid: cell i of level k holds the lowest and highest of frames [i * 2^k, (i + 1) * 2^k)

const pyramid = [{ low: scores, high: scores }];
while (pyramid.at(-1).low.length > 512) {
  const { low, high } = pyramid.at(-1);
  const half = Math.ceil(low.length / 2);
  const next = { low: new Float32Array(half), high: new Float32Array(half) };
  for (let i = 0; i < half; i++) {
    const j = Math.min(2 * i + 1, low.length - 1);
    next.low[i] = Math.min(low[2 * i], low[j]);
    next.high[i] = Math.max(high[2 * i], high[j]);
  }
  pyramid.push(next);
}

function extremes(from, to) {
  const level = Math.min(Math.max(0, Math.floor(Math.log2((to - from) / 2))), pyramid.length - 1);
  const { low, high } = pyramid[level];
  const last = Math.min(Math.max(from, to - 1) >> level, low.length - 1);
  let least = 1, most = 0;
  for (let i = from >> level; i <= last; i++) {
    least = Math.min(least, low[i]);
    most = Math.max(most, high[i]);
  }
  return [least, most];
}

const box = $("curve"), canvas = box.querySelector("canvas"), head = $("head");
const AXIS = 20, TOP = 12; // pixels: time below, ground truth above
let view = { from: 0, to: duration };
let events = [], rule = { ...data.rule }, now = 0;

const toX = (seconds) => ((seconds - view.from) / (view.to - view.from)) * box.clientWidth;
const toSeconds = (x) => view.from + (x / box.clientWidth) * (view.to - view.from);

function paint() {
  const width = box.clientWidth, height = box.clientHeight, ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`);
  const bottom = height - AXIS, toY = (score) => bottom - score * (bottom - TOP);
  pen.scale(ratio, ratio);

  pen.fillStyle = colour("shade");
  for (const { start, end } of events) {
    const x = toX(edge(start));
    pen.fillRect(x, TOP, Math.max(toX(edge(end)) - x, 1), bottom - TOP);
  }
  pen.fillStyle = colour("truth");
  for (const [start, end] of data.truth ?? []) pen.fillRect(toX(edge(start)), 2, toX(edge(end)) - toX(edge(start)), 6);

  const low = [], high = [];
  for (let x = 0; x < width; x++) {
    const from = frameAt(toSeconds(x)), to = Math.max(from + 1, frameAt(toSeconds(x + 1)));
    const [least, most] = extremes(from, to);
    low.push(toY(least));
    high.push(toY(most));
  }
  pen.beginPath();
  pen.moveTo(0, bottom);
  high.forEach((y, x) => pen.lineTo(x, y));
  pen.lineTo(width, bottom);
  pen.fillStyle = colour("fill");
  pen.fill();
  pen.beginPath();
  high.forEach((y, x) => (pen.lineTo(x, y), low[x] - y > 1 && pen.lineTo(x, low[x])));
  pen.strokeStyle = colour("curve");
  pen.lineWidth = (view.to - view.from) * data.fps > 4 * width ? 1 : 1.6;
  pen.lineJoin = "round";
  pen.stroke();

  pen.strokeStyle = colour("event");
  pen.lineWidth = 1.2;
  pen.setLineDash([6, 5]);
  pen.beginPath();
  pen.moveTo(0, toY(rule.start));
  pen.lineTo(width, toY(rule.start));
  pen.stroke();

  pen.setLineDash([]);
  pen.strokeStyle = colour("line");
  pen.beginPath();
  pen.moveTo(0, bottom + 0.5);
  pen.lineTo(width, bottom + 0.5);
  pen.fillStyle = colour("soft");
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "bottom";
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200];
  const span = view.to - view.from, step = steps.find((s) => (s / span) * width >= 64) ?? 86400;
  let taken = -8;
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
    const x = toX(t), text = clock(t), room = pen.measureText(text).width;
    const left = Math.min(Math.max(x - room / 2, 0), width - room);
    pen.moveTo(x, bottom);
    pen.lineTo(x, bottom + 4);
    if (left < taken + 8) continue;
    pen.fillText(text, left, height);
    taken = left + room;
  }
  pen.stroke();
  showHead();
}

let asked = false;
function repaint() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    paint();
  });
}

// ---- where we are

function showHead() {
  const x = toX(now);
  head.hidden = x < 0 || x > box.clientWidth;
  head.style.transform = `translateX(${Math.min(x, box.clientWidth) - 1}px)`;
}

let current = -1;
function show(seconds) {
  now = Math.min(Math.max(seconds, 0), duration);
  const frame = frameAt(now), score = scores[frame].toFixed(2);
  $("readout").textContent = `${clock(now, 1)} · frame ${frame} · score ${score}`;
  box.setAttribute("aria-valuenow", now.toFixed(2));
  box.setAttribute("aria-valuetext", `${clock(now)} of ${clock(duration)}, score ${score}`);
  if (video && !video.paused && (now > view.to || now < view.from)) pan(now - view.from);
  showHead();
  const inside = events.findIndex(({ start, end }) => start <= frame && frame < end);
  if (inside === current) return;
  const rows = document.querySelector("tbody").rows;
  rows[current]?.removeAttribute("aria-current");
  rows[inside]?.setAttribute("aria-current", "true");
  current = inside;
}

function goTo(frame) {
  const seconds = (edge(frame) + edge(frame + 1)) / 2; // within the frame, so that rounding cannot miss it
  if (video) video.currentTime = seconds;
  show(seconds);
}

function goToEvent(index) {
  const event = events[index];
  goTo(event.start);
  if (now < view.from || edge(event.end) > view.to) pan(now - (view.to - view.from) / 4 - view.from);
  const row = document.querySelector("tbody").rows[index], frame = $("scroll");
  if (frame.scrollHeight > frame.clientHeight) {
    frame.scrollTo({ top: row.offsetTop - frame.clientHeight / 3, behavior: reduced ? "auto" : "smooth" });
  }
  say(`Event ${index + 1} of ${events.length}, ${described(event)}`);
}

function step(direction) {
  const frame = frameAt(now);
  const index = direction > 0
    ? events.findIndex(({ start }) => start > frame)
    : events.findLastIndex(({ start }) => edge(start) < now - (video && !video.paused ? 1 : 1 / data.fps));
  if (index >= 0) goToEvent(index);
  else say(direction > 0 ? "No later event" : "No earlier event");
}

const say = (text) => ($("announce").textContent = text);
const described = (event) =>
  `${clock(edge(event.start))} to ${clock(edge(event.end))}, score ${event.score.toFixed(2)}`;

// ---- zoom

function pan(seconds) {
  const span = view.to - view.from;
  const from = Math.min(Math.max(view.from + seconds, 0), duration - span);
  view = { from, to: from + span };
  repaint();
}

function zoom(factor, around = now) {
  const span = Math.min(duration, Math.max((view.to - view.from) * factor, Math.min(duration, 4)));
  const share = Math.min(Math.max((around - view.from) / (view.to - view.from), 0), 1);
  const from = Math.min(Math.max(around - share * span, 0), duration - span);
  view = { from, to: from + span };
  $("out").disabled = span >= duration;
  repaint();
}

// ---- the list of events

function thumbnail(event) {
  for (const [frame, address] of Object.entries(data.thumbnails)) {
    if (event.start <= frame && frame < event.end) return address;
  }
  return null;
}

function listEvents() {
  const body = document.querySelector("tbody");
  body.replaceChildren(...events.map((event, index) => {
    const row = document.createElement("tr");
    const address = thumbnail(event);
    const picture = document.createElement(address ? "img" : "span");
    if (address) Object.assign(picture, { src: address, alt: `Frame at ${clock(edge(event.peak))}` });
    else picture.className = "blank";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${clock(edge(event.start))} – ${clock(edge(event.end))}`;
    button.setAttribute("aria-label", `Go to event ${index + 1}, ${described(event)}`);
    const length = `${(edge(event.end) - edge(event.start)).toFixed(1)} s`;
    for (const content of [picture, button, length, event.score.toFixed(2)]) row.insertCell().append(content);
    row.addEventListener("click", () => goToEvent(index));
    return row;
  }));
  const count = events.length, highest = scores[highestFrame].toFixed(2);
  const words = `${count || "no"} event${count === 1 ? "" : "s"}`;
  $("events-title").textContent = words[0].toUpperCase() + words.slice(1);
  $("summary").textContent = `${words[0].toUpperCase() + words.slice(1)}; the highest score is ${highest}, at ${clock(edge(highestFrame))}.`;
  $("none").hidden = count > 0;
  document.querySelector("table").hidden = count === 0;
  $("previous").disabled = $("next").disabled = $("download").disabled = count === 0;
  current = -1;
}

function applyRule(threshold) {
  rule = { ...data.rule, start: threshold, end: Math.min(data.rule.end, threshold) };
  events = findEvents(rule);
  $("threshold").value = threshold;
  $("threshold").setAttribute("aria-valuetext", `${threshold.toFixed(2)}, ${events.length} events`);
  $("value").textContent = threshold.toFixed(2);
  $("rule").textContent =
    `An event begins at ${rule.start.toFixed(2)} and ends below ${rule.end.toFixed(2)}; gaps under ${rule.gap} s are closed, ` +
    `and what is shorter than ${rule.shortest} s is left out. On the command line: --threshold ${rule.start.toFixed(2)}` +
    (rule.end < data.rule.end ? ` --end-threshold ${rule.end.toFixed(2)}` : "");
  $("reset").disabled = threshold === data.rule.start;
  listEvents();
  show(now);
  repaint();
}

function download() {
  const names = ["event", "start", "end", "peak", "score", "start_time", "end_time", "peak_time"];
  const lines = events.map((event, index) => [
    index + 1, event.start, event.end, event.peak, event.score.toFixed(5),
    ...["start", "end", "peak"].map((name) => edge(event[name]).toFixed(3)),
  ]);
  const text = [names, ...lines].map((line) => line.join(",") + "\n").join("");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = `${data.name.replace(/\.[^.]*$/, "")}.events.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// ---- hands and keys

let dragging = false;
const seekTo = (event) => goTo(frameAt(toSeconds(event.clientX - box.getBoundingClientRect().left)));
box.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  dragging = true;
  box.setPointerCapture(event.pointerId);
  seekTo(event);
});
box.addEventListener("pointermove", (event) => dragging && seekTo(event));
for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, () => (dragging = false));
box.addEventListener("wheel", (event) => {
  const span = view.to - view.from;
  if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY / 200), toSeconds(event.offsetX));
  else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    pan(((event.deltaX || event.deltaY) / box.clientWidth) * span);
  } else return;
  event.preventDefault();
}, { passive: false });

const keys = {
  j: () => step(1),
  ArrowRight: () => step(1),
  k: () => step(-1),
  ArrowLeft: () => step(-1),
  ",": () => goTo(Math.max(frameAt(now) - 1, 0)),
  ".": () => goTo(Math.min(frameAt(now) + 1, n - 1)),
  Home: () => goTo(0),
  End: () => goTo(n - 1),
  "+": () => zoom(1 / 2),
  "=": () => zoom(1 / 2),
  "-": () => zoom(2),
  " ": () => video && (video.paused ? video.play() : video.pause()),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const own = event.target.closest("input, video, button");
  if (own && !"jk,.".includes(event.key)) return;
  if (!own && ["Home", "End"].includes(event.key) && event.target !== box) return;
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});

$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("in").addEventListener("click", () => zoom(1 / 2));
$("out").addEventListener("click", () => zoom(2));
$("threshold").addEventListener("input", (event) => applyRule(event.target.valueAsNumber));
$("reset").addEventListener("click", () => applyRule(data.rule.start));
$("download").addEventListener("click", download);
new ResizeObserver(repaint).observe(box);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

if (video) {
  const follow = () => {
    if (!video.seeking) show(video.currentTime);
    if (!video.paused) requestAnimationFrame(follow);
  };
  video.addEventListener("play", follow);
  video.addEventListener("timeupdate", () => video.paused && !dragging && follow());
  const missing = () => {
    video.hidden = true;
    $("unplayable").hidden = false;
  };
  if (video.error) missing();
  video.addEventListener("error", missing);
}

box.setAttribute("aria-valuemax", duration.toFixed(2));
$("out").disabled = true;
applyRule(data.rule.start);
