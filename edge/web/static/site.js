// Follows what the server says. Without news for a while a page shows NO DATA: an old verdict must not look like a new one.
"use strict";
const CUT_OFF_MS = 2500;

function follow(part) {
  let source = null, heard = performance.now();
  const open = () => {
    source = new EventSource(part.dataset.events);
    source.onmessage = (event) => {
      const news = JSON.parse(event.data);
      heard = performance.now();
      if (news.html !== undefined) part.innerHTML = news.html;
      document.body.classList.toggle("nodata", !news.live);
      document.body.classList.remove("cut");
    };
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) { source = null; setTimeout(wake, 2000); } };
  };
  const wake = () => { if (source === null && !document.hidden) open(); };
  // a browser has six connections for all of its tabs: those that nobody sees give theirs back
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source !== null) { source.close(); source = null; }
    wake();
  });
  setInterval(() => { if (performance.now() - heard > CUT_OFF_MS) document.body.classList.add("cut"); }, 250);
  wake();
}

function stream(image) {
  const note = image.parentElement.querySelector("figcaption");
  const start = () => { if (!document.hidden) image.src = image.dataset.stream + "?" + Date.now(); };
  image.addEventListener("error", () => { if (image.src) { note.hidden = false; setTimeout(start, 5000); } });
  image.addEventListener("load", () => { note.hidden = true; });
  document.addEventListener("visibilitychange", () => { if (document.hidden) image.removeAttribute("src"); else start(); });
  // a page that waits for its first picture would never be loaded
  window.addEventListener("load", start);
}

// a form whose answer stands beside it: asked again while a slider moves, the newest value last
function answer(form) {
  const place = document.getElementById(form.dataset.answer);
  let waiting = false, again = false;
  const ask = async () => {
    if (waiting) { again = true; return; }
    waiting = true;
    try {
      const reply = await fetch(form.action + "?" + new URLSearchParams(new FormData(form)), { headers: { "x-part": "1" } });
      if (reply.ok) place.innerHTML = await reply.text();
    } finally { waiting = false; }
    if (again) { again = false; ask(); }
  };
  form.addEventListener("input", (event) => {
    for (const twin of form.querySelectorAll("[data-twin]")) if (twin !== event.target) twin.value = event.target.value;
    ask();
  });
}

// one part after the other: the answer to a form holds the next one
function review(place) {
  // nobody has seen a picture in less: a key that was pressed twice answers once
  const SEEN_MS = 150;
  let waiting = false, shown = performance.now();
  place.addEventListener("submit", async (event) => {
    // its answer is another page
    if (event.target.dataset.whole !== undefined) return;
    event.preventDefault();
    if (waiting || performance.now() - shown < SEEN_MS) return;
    waiting = true;
    const body = new URLSearchParams(new FormData(event.target, event.submitter)), key = document.activeElement.dataset.key;
    try {
      const reply = await fetch(event.target.action, { method: "POST", body, headers: { "x-part": "1" } });
      let next = document.createElement("div");
      if (reply.ok) {
        next.innerHTML = await reply.text();
        await next.querySelector("img")?.decode().catch(() => {});
      } else { next = new DOMParser().parseFromString(await reply.text(), "text/html").querySelector("main"); }
      place.replaceChildren(...next.childNodes);
      if (key) place.querySelector(`button[data-key="${key}"]`)?.focus();
    } catch { place.prepend("The server does not answer. Your last answer may be lost: open this page anew."); }
    shown = performance.now();
    waiting = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const button = [...place.querySelectorAll("button[data-key]")].find((each) => each.dataset.key === event.key.toLowerCase());
    if (button) { event.preventDefault(); button.click(); }
  });
}

// what a narrow screen must not hide: which page this is, and how it goes now
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
document.querySelectorAll("[data-newest]").forEach((wide) => { wide.scrollLeft = wide.scrollWidth; });
document.querySelectorAll("[data-events]").forEach(follow);
document.querySelectorAll("img[data-stream]").forEach(stream);
document.querySelectorAll("[data-print]").forEach((button) => button.addEventListener("click", () => window.print()));
document.querySelectorAll("form[data-answer]").forEach(answer);
document.querySelectorAll("[data-review]").forEach(review);

// asked again while something runs; then the page comes anew
function refresh(place) {
  if (!place.querySelector("[data-running]")) return;
  setTimeout(async () => {
    try {
      const reply = await fetch(place.dataset.refresh, { headers: { "x-part": "1" } });
      if (reply.ok) place.innerHTML = await reply.text();
      if (reply.ok && !place.querySelector("[data-running]")) { location.reload(); return; }
    } catch { /* the server comes back */ }
    refresh(place);
  }, 1000);
}
document.querySelectorAll("[data-refresh]").forEach(refresh);
