// Verdicts on the events of one video, and on the video. Uses common.js and report.js.

const spanOf = (event) => ({ start: edge(event.start), end: edge(event.end) });
const entryFor = (event) => event && entryOf(record, spanOf(event));

function changeEntry(event, change) {
  const span = spanOf(event);
  let entry = entryFor(event);
  // a part of an event that was judged as a whole, at another threshold, gets an entry of its own
  if (!entry || likeness(entry, span) < 0.5) record.events.push((entry = { verdict: null, note: "" }));
  Object.assign(entry, span, change);
  record.events.sort((a, b) => a.start - b.start);
  keepRecord(data.key, record);
  showStates();
}

const markSeen = (event) => entryFor(event) || changeEntry(event, {});

// null takes a verdict back.
function judge(verdict) {
  const event = events[chosen];
  if (!event) return say("Choose an event first");
  changeEntry(event, { verdict });
  showVerdict();
  say(`Event ${chosen + 1}: ${VERDICTS[verdict] ?? "verdict taken back"}`);
}

function judgeVideo(label) {
  record.label = record.label === label ? null : label;
  keepRecord(data.key, record);
  showStates();
}

function showVerdict() {
  const event = events[chosen], entry = entryFor(event);
  $("chosen").textContent = event
    ? `Event ${chosen + 1} of ${events.length}, ${spanText(event)}`
    : "No event chosen";
  $("judge").disabled = !event;
  for (const button of $("judge").querySelectorAll("[data-verdict]")) {
    button.setAttribute("aria-pressed", entry?.verdict === button.dataset.verdict);
  }
  if (document.activeElement !== $("note")) $("note").value = entry?.note ?? "";
}

function showStates() {
  const entries = events.map(entryFor);
  entries.forEach((entry, index) => {
    const words = entry ? VERDICTS[entry.verdict] ?? "" : "Not seen yet";
    const state = body.rows[index].querySelector(".state"), button = body.rows[index].querySelector("button");
    state.textContent = [words, entry?.note].filter(Boolean).join(" · ");
    state.dataset.verdict = entry ? entry.verdict ?? "seen" : "unseen";
    button.setAttribute(
      "aria-label", `${button.textContent}: play event ${index + 1}, score ${events[index].score.toFixed(2)}${words && `, ${words}`}`);
  });
  const judged = entries.filter((entry) => entry?.verdict).length, unseen = entries.filter((entry) => !entry).length;
  $("events-title").textContent = capital(plural(events.length, "event"));
  $("progress").textContent = events.length ? `${judged} judged, ${unseen} not seen yet` : "";
  for (const button of document.querySelectorAll("[data-label]")) {
    button.setAttribute("aria-pressed", record.label === Number(button.dataset.label));
  }
  const odd = record.label === 0 && record.events.some((entry) => entry.verdict === "real");
  if (odd || $("trouble").dataset.odd) warn(odd ? "This video is marked normal, and one of its events is marked real." : "");
  $("trouble").dataset.odd = odd ? "1" : "";
}
