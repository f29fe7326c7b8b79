// Pointers, keys and buttons of the page of one video; at the end, it is shown. Uses all other scripts.

// ---- pointers: one seeks, two zoom; a mouse that hovers sees the time, the score and a picture

const pointers = new Map();
const placeOf = (event) => event.clientX - box.getBoundingClientRect().left;
let pinch = null;

box.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  pointers.set(event.pointerId, placeOf(event));
  box.setPointerCapture(event.pointerId);
  if (pointers.size === 1) goTo(frameAt(toSeconds(placeOf(event))));
  if (pointers.size === 2) {
    const [a, b] = [...pointers.values()].sort((a, b) => a - b);
    pinch = { from: toSeconds(a), to: toSeconds(b) };
  }
});
box.addEventListener("pointermove", (event) => {
  if (event.pointerType === "mouse") hover(placeOf(event));
  if (!pointers.has(event.pointerId)) return;
  pointers.set(event.pointerId, placeOf(event));
  if (pointers.size === 1 && !pinch) goTo(frameAt(toSeconds(placeOf(event))));
  if (pointers.size === 2) {
    const [a, b] = [...pointers.values()].sort((a, b) => a - b);
    const span = ((pinch.to - pinch.from) / Math.max(b - a, 10)) * box.clientWidth;
    setView(pinch.from - (a / box.clientWidth) * span, span);
  }
});
for (const name of ["pointerup", "pointercancel"]) {
  box.addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    if (!pointers.size) pinch = null;
  });
}
box.addEventListener("pointerleave", () => ($("hover").hidden = $("hint").hidden = true));

const peek = $("peek");
function hover(x) {
  const seconds = Math.min(Math.max(toSeconds(x), 0), duration), frame = frameAt(seconds);
  const still = nearestStill(seconds), lively = playable() && peek && video.readyState > 0;
  $("hover").hidden = false;
  $("hover-text").textContent = `${timeOfDay(data.start, seconds, 1)} · score ${scores[frame].toFixed(2)}`;
  $("hover-still").hidden = lively || still === null;
  if (still !== null) $("hover-still").src = data.thumbnails[still];
  if (peek) {
    peek.hidden = !lively;
    if (lively && !peek.src) peek.src = video.src;
    if (lively && !peek.seeking) peek.currentTime = seconds;
    else if (lively) peek.onseeked = () => ((peek.onseeked = null), (peek.currentTime = seconds));
  }
  const width = $("hover").offsetWidth;
  $("hover").style.left = `${Math.min(Math.max(x - width / 2, 0), box.clientWidth - width)}px`;
}

// ---- keys

const keys = {
  " ": toggle,
  ArrowRight: () => seekBy(JUMP),
  ArrowLeft: () => seekBy(-JUMP),
  j: () => step(1),
  k: () => step(-1),
  ",": () => goTo(Math.max(frameAt(now) - 1, 0)),
  ".": () => goTo(Math.min(frameAt(now) + 1, n - 1)),
  "<": () => stepSpeed(-1),
  ">": () => stepSpeed(1),
  r: () => setLoop(!loop),
  "+": () => zoom(1 / 2),
  "=": () => zoom(1 / 2),
  "-": () => zoom(2),
  0: () => setView(0, duration),
  y: () => judge("real"),
  n: () => judge("false"),
  u: () => judge("unsure"),
};
const sliderKeys = { // https://www.w3.org/WAI/ARIA/apg/patterns/slider/
  ArrowUp: () => seekBy(JUMP),
  ArrowDown: () => seekBy(-JUMP),
  PageUp: () => seekBy(Math.max(JUMP, duration / 10)),
  PageDown: () => seekBy(-Math.max(JUMP, duration / 10)),
  Home: () => goTo(0),
  End: () => goTo(n - 1),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=range])")) return;
  const own = event.target.closest("input, select, video") ? "jk,.<>rynu" : null; // the rest is theirs
  const press = (event.target === box && sliderKeys[event.key]) || (Object.hasOwn(keys, event.key) && keys[event.key]);
  if (!press || (own && !own.includes(event.key))) return;
  if (event.key === " " && event.target.closest("button, a, summary")) return;
  event.preventDefault();
  press();
});

for (const [id, press] of Object.entries({
  previous: () => step(-1), next: () => step(1), in: () => zoom(1 / 2), out: () => zoom(2), all: () => setView(0, duration),
  back: () => seekBy(-JUMP), forward: () => seekBy(JUMP), "frame-back": keys[","], "frame-forward": keys["."],
  loop: keys.r, reset: () => applyRule(data.rule.start), download, save: () => saveLabels([record]),
})) $(id).addEventListener("click", press);
$("speed").addEventListener("change", () => setSpeed(Number($("speed").value)));
$("threshold").addEventListener("input", (event) => applyRule(event.target.valueAsNumber));
$("note").addEventListener("input", () => events[chosen] && changeEntry(events[chosen], { note: $("note").value }));
for (const button of document.querySelectorAll("[data-verdict]")) {
  const verdict = button.dataset.verdict, pressed = () => button.getAttribute("aria-pressed") === "true";
  if (button.tagName === "BUTTON") button.addEventListener("click", () => judge(pressed() ? null : verdict));
}
for (const button of document.querySelectorAll("[data-label]")) {
  button.addEventListener("click", () => judgeVideo(Number(button.dataset.label)));
}
new ResizeObserver(repaint).observe(box);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
addEventListener("hashchange", readAddress);

if (video) {
  const follow = () => {
    if (range && !video.paused && !video.seeking && video.currentTime >= range.to) {
      if (loop) video.currentTime = range.from;
      else video.pause();
    }
    if (!video.seeking) show(video.currentTime);
    if (!video.paused) requestAnimationFrame(follow);
  };
  video.addEventListener("play", () => {
    if (range && video.currentTime >= range.to) range = null; // play was pressed at the end of the event: continue after it
    follow();
  });
  video.addEventListener("pause", remember);
  video.addEventListener("timeupdate", () => video.paused && !pointers.size && follow());
  const missing = () => {
    for (const node of [video, ...document.querySelectorAll(".plays")]) node.hidden = true;
    $("stills").hidden = $("unplayable").hidden = false;
    showStill();
  };
  if (video.error) missing();
  video.addEventListener("error", missing);
}

box.setAttribute("aria-valuemax", duration.toFixed(2));
if (!video) for (const node of document.querySelectorAll(".plays")) node.hidden = true;
if (!video && stills.length) $("stills").hidden = false;
setView(0, duration);
readAddress();
showNeighbours();
