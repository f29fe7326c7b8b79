// The page of all videos. Uses common.js.

const WIDTH = 240, HEIGHT = 40, CHIPS = 8; // of a small curve; most events of a video that are named
const list = document.querySelector(".list");
const cards = new Map([...list.children].map((card) => [card.dataset.key, card]));
const videos = data.pages.map((page) => ({ ...page, card: cards.get(page.key), cells: null }));
const usual = videos[0]?.rule.start ?? 0.5;
const memory = `index:${location.href.replace(/[?#].*/, "")}`;
const folded = `timeline-folded:${location.href.replace(/[?#].*/, "")}`;
let state = {};
$("timeline").open = !recall(folded);

// Events at the threshold; at a video's own, those of its page, else found in the cells, good to a fraction of a second.
function eventsOf(video) {
  if (!state.threshold) return video.events.map(([start, end, score]) => ({ start, end, score }));
  const rule = { ...video.rule, start: Number(state.threshold), end: Math.min(video.rule.end, state.threshold) };
  video.cells ??= Float32Array.from(new Uint16Array(decode(video.cells64)), (value) => value / 65535);
  const edge = (cell) => (cell / video.cells.length) * video.duration;
  return findEvents(video.cells, edge, rule).map(({ start, end, score }) => ({ start: edge(start), end: edge(end), score }));
}
for (const [index, video] of videos.entries()) video.cells64 = data.pages[index].cells;

const linkTo = (video, extra = {}) => {
  const hash = new URLSearchParams({ ...(state.threshold && { threshold: state.threshold }), ...extra }).toString();
  return video.link + (hash && `#${hash}`);
};

// When an event begins, with the day where that is another than that of the event before.
function chipText({ start }, event, before) {
  const day = dayOf(start, event.start), same = before && day === dayOf(start, before.start);
  return same || !start ? timeOfDay(start, event.start) : dayAndTime(start, event.start);
}

function fill(video) {
  const { card, events } = video, shapes = events.map(({ start, end }) => {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const x = (start / video.duration) * WIDTH, width = Math.max(((end - start) / video.duration) * WIDTH, 1);
    for (const [name, value] of Object.entries({ x, y: 0, width, height: HEIGHT })) shape.setAttribute(name, value);
    return shape;
  });
  card.querySelector("g").replaceChildren(...shapes);
  card.querySelector(".count").textContent = plural(events.length, "event");
  card.querySelector(".name").href = linkTo(video);
  const chips = events.slice(0, CHIPS).map((event, index) => {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = linkTo(video, { t: event.start.toFixed(2) });
    link.textContent = chipText(video, event, events[index - 1]);
    const verdict = event.entry?.verdict;
    link.dataset.verdict = verdict ?? (event.entry ? "seen" : "unseen");
    link.title = `Event of ${(event.end - event.start).toFixed(1)} s, score ${event.score.toFixed(2)}` + (verdict ? `, ${VERDICTS[verdict]}` : "");
    item.append(link);
    return item;
  });
  if (events.length > CHIPS) {
    const more = document.createElement("li");
    more.textContent = `and ${events.length - CHIPS} more`;
    chips.push(more);
  }
  card.querySelector(".chips").replaceChildren(...chips);
  card.querySelector(".chips").hidden = !events.length;
  const words = [video.record.label === null ? "" : video.record.label ? "abnormal" : "normal"];
  if (events.length) words.push(video.judged === events.length ? "all judged" : `${video.judged} of ${events.length} judged`);
  if (video.unseen) words.push(`${video.unseen} unseen`);
  card.querySelector(".state").textContent = words.filter(Boolean).join(", ");
}

const wanted = {
  "": () => true,
  events: (video) => video.events.length,
  open: (video) => video.judged < video.events.length,
  unseen: (video) => video.unseen,
  judged: (video) => video.record.label !== null || (video.judged && video.judged === video.events.length),
};
const order = {
  "": (a, b) => b.peak - a.peak,
  name: (a, b) => a.video.localeCompare(b.video, undefined, { numeric: true }),
  events: (a, b) => b.events.length - a.events.length || b.peak - a.peak,
  duration: (a, b) => b.duration - a.duration,
};

// Read the verdicts and find the events of all videos; then `arrange` shows those that are wanted.
function refresh() {
  for (const [index, video] of videos.entries()) {
    video.events = data.pages[index].events;
    video.record = recordOf(video);
    video.events = eventsOf(video);
    for (const event of video.events) event.entry = entryOf(video.record, event);
    video.judged = video.events.filter(({ entry }) => entry?.verdict).length;
    video.unseen = video.events.filter(({ entry }) => !entry).length;
    fill(video);
  }
  const sum = (of) => videos.reduce((total, video) => total + of(video), 0), events = sum((video) => video.events.length);
  const places = videos.filter((video) => video.events.length).length;
  $("totals").textContent =
    `${clock(sum((video) => video.duration))} of video. ${capital(plural(events, "event"))}` +
    (events ? ` in ${plural(places, "video")}; ${sum((video) => video.judged)} judged, ${sum((video) => video.unseen)} not seen yet.` : ".");
  if ($("timeline").open) drawTimeline(videos);
  arrange();
}

function arrange() {
  const find = (state.find ?? "").toLowerCase();
  const shown = videos
    .filter((video) => (wanted[state.show ?? ""] ?? wanted[""])(video) && `${video.video}\n${video.name}`.toLowerCase().includes(find))
    .sort(order[state.sort ?? ""] ?? order[""]);
  list.replaceChildren(...shown.map((video) => video.card));
  $("empty").hidden = shown.length > 0;
  setAddress(state);
  store(memory, { state, listed: shown.map(({ key, name, link }) => ({ key, name, link })) });
  return shown.length;
}

function showControls() {
  for (const id of ["find", "show", "sort"]) $(id).value = state[id] ?? "";
  const threshold = Number(state.threshold || usual);
  $("threshold").value = threshold;
  $("threshold").setAttribute("aria-valuetext", threshold.toFixed(2));
  $("value").textContent = threshold.toFixed(2);
  $("reset").disabled = !state.threshold;
}

function change(values) {
  const anew = "threshold" in values;
  state = { ...state, ...values };
  showControls();
  if (anew) refresh();
  else say(plural(arrange(), "video"));
}

function readAddress() {
  const given = location.hash.length > 1 ? address() : recall(memory)?.state ?? {};
  state = Object.fromEntries(["find", "show", "sort", "threshold"].map((name) => [name, given[name] ?? ""]));
  if (!(state.threshold >= 0.01 && state.threshold <= 1)) state.threshold = "";
  showControls();
  refresh();
}

$("find").addEventListener("input", () => change({ find: $("find").value }));
for (const id of ["show", "sort"]) $(id).addEventListener("change", () => change({ [id]: $(id).value }));
$("threshold").addEventListener("input", () => change({ threshold: $("threshold").value }));
$("reset").addEventListener("click", () => change({ threshold: "" }));
$("save").addEventListener("click", () => saveLabels(videos.map((video) => video.record)));
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, select")) return;
  event.preventDefault();
  $("find").focus();
});
$("timeline").addEventListener("toggle", () => {
  store(folded, !$("timeline").open);
  if ($("timeline").open) drawTimeline(videos);
});
addEventListener("pageshow", (event) => event.persisted && refresh()); // back from a video, with new verdicts
addEventListener("storage", refresh); // verdicts given in another tab
addEventListener("hashchange", readAddress);
readAddress();
