// The page of one video: player and events around the curve, and its address. Uses common.js, curve.js and verdicts.js.

const LEAD = 3, JUMP = 5; // seconds before an event that it plays from; seconds that the arrow keys move
const video = $("video"), body = $("events").tBodies[0];
const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
const stills = Object.keys(data.thumbnails).map(Number);
let chosen = -1; // the event that verdicts are about
let range = null; // {from, to}: what plays of the chosen event
let loop = false;
let record = recordOf(data);

// How often normal footage of the scene reaches a score, where there is a calibration.
const often = (score) => (data.often ?? []).findLast(([level]) => score >= level)?.[1] ?? "";
const inNormal = (score) => (often(score) ? ` (in normal footage ${often(score)})` : "");
// A threshold in the fewest digits that mean the same.
const digits = (value) => (Number(value.toFixed(2)) === value ? value.toFixed(2) : String(Number(value.toFixed(6))));

const playable = () => Boolean(video) && !video.hidden;

// ---- the position

function show(seconds) {
  now = Math.min(Math.max(seconds, 0), duration);
  const frame = frameAt(now), score = scores[frame].toFixed(2);
  const when = data.start ? `${dayAndTime(data.start, now, 1)} · ` : "";
  $("readout").textContent = `${when}${clock(now, 1)} · frame ${frame} · score ${score}${inNormal(scores[frame])}`;
  box.setAttribute("aria-valuenow", now.toFixed(2));
  box.setAttribute("aria-valuetext", `${when}${clock(now)} of ${clock(duration)}, score ${score}${inNormal(scores[frame])}`);
  if (video && !video.paused && (now > view.to || now < view.from)) pan(now - view.from);
  showHead();
  if (!playable()) showStill();
  if (range && (now < range.from - 0.5 || now > range.to + 0.5)) range = null;
  if (!range) choose(events.findIndex(({ start, end }) => start <= frame && frame < end));
  remember();
}

function seek(seconds) {
  if (playable()) video.currentTime = seconds;
  show(seconds);
}

// Within the frame, so that rounding cannot miss it.
const goTo = (frame) => seek((edge(frame) + edge(frame + 1)) / 2);
const seekBy = (seconds) => seek(Math.min(Math.max(now + seconds, 0), edge(n - 1)));

function toggle() {
  if (!playable()) return;
  if (video.paused) video.play().catch(() => {});
  else video.pause();
}

function setSpeed(rate) {
  if (video) video.playbackRate = rate;
  $("speed").value = String(rate);
}

function stepSpeed(direction) {
  const speed = $("speed"), index = speed.selectedIndex + direction;
  if (speed.options[index]) setSpeed(Number(speed.options[index].value));
  say(`Speed ${speed.selectedOptions[0].textContent}`);
}

function setLoop(on) {
  loop = on;
  $("loop").setAttribute("aria-pressed", on);
}

// ---- an event is chosen: it plays from a little before to its end

function choose(index) {
  if (index === chosen) return;
  body.rows[chosen]?.removeAttribute("aria-current");
  body.rows[index]?.setAttribute("aria-current", "true");
  chosen = index;
  showVerdict();
}

function goToEvent(index) {
  const event = events[index], from = Math.max(0, edge(event.start) - LEAD), to = edge(event.end);
  choose(index);
  range = { from, to };
  if (playable()) {
    seek(from);
    range = { from, to };
    video.play().catch(() => {}); // the browser may refuse to play without a click
  } else {
    goTo(event.start);
  }
  if (from < view.from || to > view.to) setView(from - (view.to - view.from) / 4, view.to - view.from);
  const row = body.rows[index], frame = $("scroll");
  if (frame.scrollHeight > frame.clientHeight) {
    frame.scrollTo({ top: row.offsetTop - frame.clientHeight / 3, behavior: reduced ? "auto" : "smooth" });
  }
  $("player").scrollIntoView({ block: "nearest", behavior: reduced ? "auto" : "smooth" });
  markSeen(event);
  showFilm(event);
  say(`Event ${index + 1} of ${events.length}, ${described(event)}`);
}

function step(direction) {
  const frame = frameAt(now);
  let index = chosen + direction;
  if (chosen < 0) {
    index = direction > 0
      ? events.findIndex(({ start }) => start > frame)
      : events.findLastIndex(({ start }) => start < frame);
  }
  if (events[index]) goToEvent(index);
  else say(direction > 0 ? "No later event" : "No earlier event");
}

const described = (event) => `${spanText(event, "to")}, score ${event.score.toFixed(2)}`;

// When an event is, with the day where that is not the first one of the recording.
function spanText(event, between = "–") {
  const day = dayOf(data.start, edge(event.start), false), first = dayOf(data.start, 0, false);
  const [from, to] = [event.start, event.end].map((frame) => timeOfDay(data.start, edge(frame)));
  return `${day === first ? "" : `${day} `}${from} ${between} ${to}`;
}

// ---- stills: what is shown where the browser cannot play the video, and beside the mouse

function nearestStill(seconds, event) {
  const inside = event ? stills.filter((frame) => event.start <= frame && frame < event.end) : stills;
  const far = (frame) => Math.abs(edge(frame) - seconds);
  return inside.reduce((best, frame) => (best === null || far(frame) < far(best) ? frame : best), null);
}

function showStill() {
  const still = nearestStill(now);
  if (still === null) return;
  $("still").src = data.thumbnails[still];
  $("still").alt = $("still-time").textContent = `Picture at ${timeOfDay(data.start, edge(still), 1)}`;
}

function showFilm(event) {
  const inside = stills.filter((frame) => edge(event.start) - LEAD <= edge(frame) && frame < event.end);
  $("film").replaceChildren(...inside.map((frame) => {
    const button = document.createElement("button"), image = document.createElement("img");
    button.type = "button";
    Object.assign(image, { src: data.thumbnails[frame], alt: `Picture at ${timeOfDay(data.start, edge(frame), 1)}` });
    button.append(image);
    button.addEventListener("click", () => goTo(frame));
    return button;
  }));
}

// ---- the list of events

function listEvents() {
  body.replaceChildren(...events.map((event, index) => {
    const row = document.createElement("tr"), still = nearestStill(edge(event.peak), event);
    const picture = document.createElement(still === null ? "span" : "img");
    if (still === null) picture.className = "blank";
    else Object.assign(picture, { src: data.thumbnails[still], alt: `Frame at ${timeOfDay(data.start, edge(still))}` });
    const button = document.createElement("button"), state = document.createElement("span");
    button.type = "button";
    button.textContent = spanText(event);
    state.className = "state";
    const length = `${(edge(event.end) - edge(event.start)).toFixed(1)} s`;
    for (const content of [picture, button, length, event.score.toFixed(2)]) row.insertCell().append(content);
    row.cells[1].append(state);
    if (often(event.score)) {
      const words = document.createElement("span");
      Object.assign(words, { className: "state", textContent: often(event.score), title: "In normal footage of the scene" });
      row.cells[3].append(words);
    }
    row.addEventListener("click", () => goToEvent(index));
    return row;
  }));
  const count = events.length, highest = scores[highestFrame].toFixed(2);
  $("summary").textContent = `${capital(plural(count, "event"))}; the highest score is ${highest}${inNormal(scores[highestFrame])}, at ${dayAndTime(data.start, edge(highestFrame))}.`;
  $("none").hidden = count > 0;
  $("events").hidden = count === 0;
  $("previous").disabled = $("next").disabled = $("download").disabled = count === 0;
  chosen = -1;
  showStates();
  showVerdict();
}

function applyRule(threshold) {
  rule = { ...data.rule, start: threshold, end: Math.min(data.rule.end, threshold) };
  events = findEvents(scores, edge, rule);
  range = null;
  $("threshold").value = threshold;
  $("threshold").setAttribute("aria-valuetext", `${threshold.toFixed(2)}, ${plural(events.length, "event")}`);
  $("value").textContent = threshold.toFixed(2);
  $("rule").textContent =
    `An event begins at ${digits(rule.start)} and ends below ${digits(rule.end)}. Gaps under ${rule.gap} s are closed, ` +
    `and events shorter than ${rule.shortest} s are dropped. On the command line: --threshold ${digits(rule.start)}` +
    (rule.end < data.rule.end || often(0) ? ` --end-threshold ${digits(rule.end)}` : "");
  $("reset").disabled = threshold === data.rule.start;
  listEvents();
  show(now);
  repaint();
}

function download() {
  const names = ["event", "start", "end", "peak", "score", "start_time", "end_time", "peak_time", "start_at", "end_at", "peak_at"];
  saveCSV(`${data.name.replace(/\.[^.]*$/, "")}.events.csv`, [names, ...events.map((event, index) => [
    index + 1, event.start, event.end, event.peak, event.score.toFixed(5),
    ...["start", "end", "peak"].map((name) => edge(event[name]).toFixed(3)),
    ...["start", "end", "peak"].map((name) => isoTime(data.start, edge(event[name]))),
  ])]);
}

// ---- the address

let timer = 0;
function remember() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (video && !video.paused) return;
    const zoomed = view.to - view.from < duration;
    setAddress({
      t: now ? now.toFixed(2) : "",
      threshold: rule.start === data.rule.start ? "" : rule.start,
      from: zoomed ? view.from.toFixed(2) : "",
      to: zoomed ? view.to.toFixed(2) : "",
    });
  }, 200);
}

function readAddress() {
  const { t, threshold, from, to } = address();
  const level = Number(threshold ?? NaN);
  applyRule(level >= 0.01 && level <= 1 ? level : data.rule.start);
  if (Number(to) > Number(from)) setView(Number(from), to - from);
  if (Number(t) >= 0) {
    const seconds = Math.min(Number(t), edge(n - 1));
    if (playable() && video.readyState < 1) video.addEventListener("loadedmetadata", () => seek(seconds), { once: true });
    seek(seconds);
    if (now < view.from || now > view.to) setView(now - (view.to - view.from) / 2, view.to - view.from);
  }
}

// Previous and next video in the order in which the index last showed them; only the index knows it.
function showNeighbours() {
  const link = $("to-index"), listed = link && recall(`index:${link.href}`)?.listed;
  const at = listed ? listed.findIndex(({ key }) => key === data.key) : -1;
  for (const [id, other, words] of [["previous-video", listed?.[at - 1], "Previous"], ["next-video", listed?.[at + 1], "Next"]]) {
    if (at < 0 || !other) continue;
    $(id).hidden = false;
    $(id).href = new URL(other.link, link.href).href;
    $(id).textContent = `${words}: ${other.name}`;
  }
}
