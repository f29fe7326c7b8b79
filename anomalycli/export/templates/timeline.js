// The events of all videos on one time line, one row per camera; one per video where no times of day are known. Uses
// common.js; index.js calls it.

const MOST_MARKS = 400; // events that are drawn, the strongest
const MOST_VIDEOS = 30; // rows of videos without a time of day, those with the strongest events

// Milliseconds at which a video begins: local time, or 0 where no start is known.
const beginOf = ({ start }) => (start ? start[0][1] : 0);
const beginOfEvent = (video, seconds) => (video.start ? local(video.start, seconds).date.getTime() : seconds * 1000);

function drawTimeline(videos) {
  const timed = videos.filter((video) => video.start), eventful = videos.filter((video) => video.events.length);
  const highest = (video) => Math.max(...video.events.map((event) => event.score));
  const drawn = timed.length ? timed : eventful.sort((a, b) => highest(b) - highest(a)).slice(0, MOST_VIDEOS);
  const rowOf = (video) => (timed.length ? video.camera : video.name);
  const from = Math.min(...drawn.map(beginOf)), to = Math.max(...drawn.map((video) => beginOfEvent(video, video.duration)));
  const place = (time) => `${(100 * (time - from)) / (to - from)}%`, share = (span) => `${(100 * span) / (to - from)}%`;
  const marks = drawn.flatMap((video) => video.events.map((event) => ({ video, event })));
  const shown = new Set(marks.sort((a, b) => b.event.score - a.event.score).slice(0, MOST_MARKS));
  const rows = new Map();
  for (const video of drawn) rows.set(rowOf(video), [...(rows.get(rowOf(video)) ?? []), video]);
  const names = [...rows.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  $("cameras").replaceChildren(...names.map((name) => {
    const row = document.createElement("div"), label = document.createElement("span"), track = document.createElement("div");
    label.textContent = label.title = name;
    for (const video of rows.get(name)) track.append(bar("recorded", beginOf(video), video.duration * 1000));
    for (const mark of shown) if (rowOf(mark.video) === name) track.append(eventMark(mark));
    row.append(label, track);
    return row;
  }));
  $("times").replaceChildren(...ticks(from, to).map((time) => {
    const tick = document.createElement("span");
    tick.style.left = place(time);
    tick.textContent = timed.length ? labelOf(time, to - from) : clock(time / 1000);
    return tick;
  }));
  const parts = drawn.length ? [] : ["no events"];
  if (timed.length && timed.length < videos.length) parts.push(`${plural(videos.length - timed.length, "video")} without a time of day not shown`);
  if (!timed.length && eventful.length > MOST_VIDEOS) parts.push(`${MOST_VIDEOS} of ${plural(eventful.length, "video")} with events`);
  if (marks.length > MOST_MARKS) parts.push(`the ${MOST_MARKS} highest of ${marks.length} events`);
  $("timeline-note").textContent = parts.length ? `${capital(parts.join("; "))}.` : "";

  function bar(kind, begin, length) {
    const node = document.createElement(kind === "recorded" ? "i" : "a");
    Object.assign(node.style, { left: place(begin), width: `max(${share(length)}, ${kind === "recorded" ? 1 : 4}px)` });
    node.className = kind;
    return node;
  }

  function eventMark({ video, event }) {
    const node = bar("mark", beginOfEvent(video, event.start), (event.end - event.start) * 1000);
    node.href = linkTo(video, { t: event.start.toFixed(2) });
    node.tabIndex = -1; // the list below has the same links
    node.dataset.verdict = event.entry?.verdict ?? "";
    node.title = `${dayAndTime(video.start, event.start)}, ${video.name}, score ${event.score.toFixed(2)}`;
    return node;
  }
}

function ticks(from, to) {
  const minute = 60_000, steps = [1 / 60, 1 / 12, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 720, 1440, 2880, 10080];
  const step = minute * (steps.find((one) => (to - from) / (one * minute) <= 8) ?? 43200), found = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) found.push(time);
  return found;
}

function labelOf(time, span) {
  const text = new Date(time).toISOString(), day = `${Number(text.slice(8, 10))} ${MONTHS[Number(text.slice(5, 7)) - 1]}`;
  const midnight = text.slice(11, 19) === "00:00:00";
  return midnight || span > 5 * 86_400_000 ? day : text.slice(11, span < 600_000 ? 19 : 16);
}
