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

document.querySelectorAll("[data-events]").forEach(follow);
document.querySelectorAll("img[data-stream]").forEach(stream);
document.querySelectorAll("[data-print]").forEach((button) => button.addEventListener("click", () => window.print()));
document.querySelectorAll("form[data-answer]").forEach(answer);
