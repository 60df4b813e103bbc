// The page asks for the status, the samples and the events while it is looked
// at, and writes what it is told. A hidden page asks for nothing.
"use strict";

(() => {
  const statusEvery = 10e3, eventsEvery = 60e3;
  const $ = (id) => document.getElementById(id);
  const board = new Board($("charts"), $("idle"));

  // every runs fn when due() ms have passed since it last answered, while the
  // page is visible and the last run is over. It returns a function that runs it now.
  function every(due, fn) {
    let timer = 0, running = false, last = -Infinity, again = false;
    const plan = () => {
      clearTimeout(timer);
      if (document.hidden || running || !Number.isFinite(due())) return;
      timer = setTimeout(run, Math.max(0, last + due() - performance.now()));
    };
    async function run() {
      if (running) { again = true; return; }
      running = true;
      try { await fn(); $("lost").hidden = true; } catch { $("lost").hidden = false; }
      running = false;
      last = performance.now();
      if (again) { again = false; last = -Infinity; }
      plan();
    }
    document.addEventListener("visibilitychange", plan);
    plan();
    return run;
  }

  every(() => statusEvery, async () => {
    const response = await fetch("/api/status", { cache: "no-cache" });
    Status.write(await response.json());
  });

  const charts = every(() => board.due, async () => {
    await board.update();
    if (board.facts) Status.headline(board.facts);
    $("note").textContent = board.note();
    $("note").hidden = !board.note();
    document.body.dataset.charts = String(Number(document.body.dataset.charts || 0) + 1);
  });

  every(() => eventsEvery, async () => {
    const response = await fetch("/api/events", { cache: "no-cache" });
    if (!response.ok) return; // the status says why
    board.events = (await response.json()).events;
    Status.events(board.events.slice(0, 30));
    board.draw();
  });

  function press() {
    for (const b of $("ranges").children) if (b.dataset.range) b.setAttribute("aria-pressed", String(!board.zoomed && b.dataset.range === board.name));
    $("zoom-out").hidden = !board.zoomed;
  }
  board.changed = () => { press(); charts(); };
  $("ranges").addEventListener("click", (e) => {
    if (e.target.id === "zoom-out") board.show(board.name);
    else if (e.target.dataset.range) board.show(e.target.dataset.range);
    else return;
    board.changed();
  });
  press();
})();
