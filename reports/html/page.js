"use strict";
document.documentElement.classList.add("js");
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
