// The score curve: drawing, zoom, and where the mouse is. Uses common.js; report.js moves the position.

const scores = new Float32Array(decode(data.scores));
const n = scores.length;
const bytes = data.times && decode(data.times); // milliseconds, where the rate is variable
const times = bytes && (bytes.byteLength > 4 * n ? new Float64Array(bytes) : new Uint32Array(bytes));

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

// A pyramid: cell i of level k holds the lowest and highest of frames [i * 2^k, (i + 1) * 2^k)
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
const strip = $("overview"), frame = $("window");
const AXIS = 20, TOP = 12; // pixels: time below, ground truth above
let view = { from: 0, to: duration };
let events = [], rule = { ...data.rule }, now = 0;

const toX = (seconds) => ((seconds - view.from) / (view.to - view.from)) * box.clientWidth;
const toSeconds = (x) => view.from + (x / box.clientWidth) * (view.to - view.from);

function penOf(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas.parentElement, ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  pen.scale(ratio, ratio);
  return { pen, width, height, colour: (name) => style.getPropertyValue(`--${name}`) };
}

// The line as points (x, y): the frames themselves where they are far apart, else each column's extremes.
function linePoints(from, to, width, toY) {
  const x = (seconds) => ((seconds - from) / (to - from)) * width;
  const first = frameAt(from), last = frameAt(to), points = [];
  if (last - first < width / 2) {
    for (let i = Math.max(first - 1, 0); i <= Math.min(last + 1, n - 1); i++) {
      points.push([x((edge(i) + edge(i + 1)) / 2), toY(scores[i])]);
    }
    points.unshift([Math.min(0, points[0][0]), points[0][1]]);
    points.push([Math.max(width, points.at(-1)[0]), points.at(-1)[1]]);
    return points;
  }
  for (let column = 0; column < width; column++) {
    const start = frameAt(from + (column / width) * (to - from));
    const end = Math.max(start + 1, frameAt(from + ((column + 1) / width) * (to - from)));
    const [least, most] = extremes(start, end);
    points.push([column, toY(most)]);
    if (toY(least) - toY(most) > 1) points.push([column, toY(least)]);
  }
  return points;
}

function drawLine({ pen, width, colour }, points, bottom, thick) {
  pen.beginPath();
  pen.moveTo(points[0][0], bottom);
  for (const [x, y] of points) pen.lineTo(x, y);
  pen.lineTo(points.at(-1)[0], bottom);
  pen.fillStyle = colour("fill");
  pen.fill();
  pen.beginPath();
  for (const [x, y] of points) pen.lineTo(x, y);
  Object.assign(pen, { strokeStyle: colour("curve"), lineWidth: thick, lineJoin: "round" });
  pen.stroke();
}

function drawLevel({ pen, width, colour }, y, dashes) {
  pen.strokeStyle = colour("event");
  pen.lineWidth = 1.2;
  pen.setLineDash(dashes);
  pen.beginPath();
  pen.moveTo(0, y);
  pen.lineTo(width, y);
  pen.stroke();
  pen.setLineDash([]);
}

// The first place in view that is a multiple of `step`, counted from midnight where times of day are shown.
function firstLabel(step) {
  const before = data.start ? (data.start[0][1] / 1000) % 86400 : 0;
  return Math.ceil((view.from + before) / step - 1e-9) * step - before;
}

function drawTimes({ pen, width, height, colour }, bottom) {
  pen.strokeStyle = colour("line");
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(0, bottom + 0.5);
  pen.lineTo(width, bottom + 0.5);
  pen.fillStyle = colour("soft");
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "bottom";
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200];
  const span = view.to - view.from, step = steps.find((s) => (s / span) * width >= (data.start ? 72 : 64)) ?? 86400;
  let taken = -8;
  for (let t = firstLabel(step); t <= view.to; t += step) {
    const x = toX(t), text = step % 60 || !data.start ? timeOfDay(data.start, t) : timeOfDay(data.start, t).slice(0, 5), room = pen.measureText(text).width;
    const left = Math.min(Math.max(x - room / 2, 0), width - room);
    pen.moveTo(x, bottom);
    pen.lineTo(x, bottom + 4);
    if (left < taken + 8) continue;
    pen.fillText(text, left, height);
    taken = left + room;
  }
  pen.stroke();
}

function paint() {
  const area = penOf(canvas), { pen, width, height, colour } = area;
  const bottom = height - AXIS, toY = (score) => bottom - score * (bottom - TOP);
  pen.fillStyle = colour("shade");
  for (const { start, end } of events) {
    const x = toX(edge(start));
    pen.fillRect(x, TOP, Math.max(toX(edge(end)) - x, 1), bottom - TOP);
  }
  pen.fillStyle = colour("truth");
  for (const [start, end] of data.truth ?? []) pen.fillRect(toX(edge(start)), 2, toX(edge(end)) - toX(edge(start)), 6);
  pen.fillStyle = colour("line");
  for (const score of [0.25, 0.5, 0.75, 1]) pen.fillRect(0, Math.round(toY(score)), width, 1);
  const dense = (view.to - view.from) * data.fps > 4 * width;
  drawLine(area, linePoints(view.from, view.to, width, toY), bottom, dense ? 1 : 1.6);
  drawLevel(area, toY(rule.start), [6, 5]);
  if (rule.end < rule.start) drawLevel(area, toY(rule.end), [1.5, 4]);
  drawTimes(area, bottom);
  showHead();
  paintOverview();
}

function paintOverview() {
  const area = penOf(strip.querySelector("canvas")), { pen, width, height, colour } = area;
  const x = (seconds) => (seconds / duration) * width;
  pen.fillStyle = colour("shade");
  for (const { start, end } of events) pen.fillRect(x(edge(start)), 0, Math.max(x(edge(end)) - x(edge(start)), 1), height);
  drawLine(area, linePoints(0, duration, width, (score) => height - score * (height - 3)), height, 1);
  frame.style.left = `${x(view.from)}px`;
  frame.style.width = `${Math.max(x(view.to) - x(view.from), 6)}px`;
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

function showHead() {
  const x = toX(now);
  head.hidden = x < 0 || x > box.clientWidth;
  head.style.transform = `translateX(${Math.min(x, box.clientWidth) - 1}px)`;
}

// ---- zoom

function setView(from, span) {
  span = Math.min(duration, Math.max(span, Math.min(duration, 2)));
  from = Math.min(Math.max(from, 0), duration - span);
  view = { from, to: from + span };
  $("out").disabled = $("all").disabled = span >= duration;
  repaint();
  remember();
}

const pan = (seconds) => setView(view.from + seconds, view.to - view.from);

function zoom(factor, around = now) {
  const span = Math.min(duration, Math.max((view.to - view.from) * factor, Math.min(duration, 2)));
  const share = Math.min(Math.max((around - view.from) / (view.to - view.from), 0), 1);
  setView(around - share * span, span);
}

// The wheel zooms where the curve has the focus or Ctrl is held; elsewhere it scrolls the page, as readers expect.
box.addEventListener("wheel", (event) => {
  const span = view.to - view.from, at = toSeconds(event.clientX - box.getBoundingClientRect().left);
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    pan(((event.deltaX || event.deltaY) / box.clientWidth) * span);
  } else if (event.ctrlKey || event.metaKey || document.activeElement === box) {
    zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 200))), at);
  } else {
    $("hint").hidden = false;
    return;
  }
  event.preventDefault();
}, { passive: false });

// ---- the overview: a click or drag moves the window

strip.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  strip.setPointerCapture(event.pointerId);
  const left = strip.getBoundingClientRect().left, span = view.to - view.from;
  const at = ((event.clientX - left) / strip.clientWidth) * duration;
  const hold = at >= view.from && at <= view.to ? at - view.from : span / 2;
  const move = ({ clientX }) => setView(((clientX - left) / strip.clientWidth) * duration - hold, span);
  move(event);
  strip.onpointermove = move;
});
for (const name of ["pointerup", "pointercancel"]) strip.addEventListener(name, () => (strip.onpointermove = null));
