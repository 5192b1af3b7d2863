"use strict";
document.documentElement.classList.add("js");
// A map is one stop of the tab key; the arrow keys go from cell to cell.
for (const map of document.querySelectorAll("svg.heat")) {
  const cells = Array.from(map.querySelectorAll("rect"));
  const readout = map.closest("figure").querySelector(".readout");
  const place = (c) => [c.x.baseVal.value, c.y.baseVal.value];
  const say = (c) => { readout.textContent = c.querySelector("title").textContent; };
  // A cell is as far away as it is along the key's way, and off it much farther.
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  map.addEventListener("mouseover", (e) => { if (e.target.tagName === "rect") say(e.target); });
  map.addEventListener("focusin", (e) => {
    for (const c of cells) c.setAttribute("tabindex", c === e.target ? 0 : -1);
    say(e.target);
  });
  map.addEventListener("keydown", (e) => {
    const step = steps[e.key];
    if (!step || e.target.tagName !== "rect") return;
    const [x, y] = place(e.target);
    let best = null, least = Infinity;
    for (const c of cells) {
      const [cx, cy] = place(c), along = (cx - x) * step[0] + (cy - y) * step[1];
      const far = along + 50 * Math.abs((cx - x) * step[1] + (cy - y) * step[0]);
      if (along > 0 && far < least) [best, least] = [c, far];
    }
    if (best) best.focus();
    e.preventDefault();
  });
}
(function () {
  const table = document.getElementById("flips-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const get = (id) => document.getElementById(id);
  const text = get("flip-text"), task = get("flip-task"), kind = get("flip-kind"), order = get("flip-order"), count = get("flip-count");
  const haystack = new Map(rows.map((r) => [r, r.textContent.toLowerCase()]));
  function filter() {
    const needle = text.value.toLowerCase();
    let shown = 0;
    for (const r of rows) {
      r.hidden = !(haystack.get(r).includes(needle) && (!task.value || r.dataset.task === task.value) && (!kind.value || r.dataset.flip === kind.value));
      if (!r.hidden) shown++;
    }
    count.textContent = shown + " of " + rows.length + " shown";
  }
  const orders = {
    effect: (a, b) => a.dataset.at - b.dataset.at,
    task: (a, b) => a.dataset.task - b.dataset.task || a.dataset.at - b.dataset.at,
    item: (a, b) => haystack.get(a).localeCompare(haystack.get(b)),
  };
  function sort() {
    body.append(...rows.sort(orders[order.value]));
  }
  for (const e of [text, task, kind]) e.addEventListener("input", filter);
  order.addEventListener("input", sort);
  filter();
})();
