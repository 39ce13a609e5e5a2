"use strict";
const table = document.getElementById("verdicts");
const body = table.tBodies[0];
const rows = Array.from(body.rows);
const text = document.getElementById("filter");
const verdict = document.getElementById("verdict");
const shown = document.getElementById("shown");

function filter() {
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const fits = words.every((word) => row.dataset.text.includes(word));
    row.hidden = !fits || Boolean(verdict.value && row.dataset.verdict !== verdict.value);
    if (row.dataset.section) document.getElementById(row.dataset.section).hidden = row.hidden;
    count += row.hidden ? 0 : 1;
  }
  shown.textContent = `${count} of ${rows.length} ${table.dataset.rows}`;
}

function sort(head) {
  const column = head.cellIndex;
  const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const compare = (a, b) => a.localeCompare(b, "en", { numeric: true });
  body.append(...Array.from(rows).sort((a, b) => direction * compare(value(a), value(b))));
}

function open() {
  const model = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (model instanceof HTMLDetailsElement) {
    model.open = true;
    model.scrollIntoView();
  }
}

for (const button of table.tHead.querySelectorAll("button")) {
  button.addEventListener("click", () => sort(button.closest("th")));
}
text.addEventListener("input", filter);
verdict.addEventListener("change", filter);
document.getElementById("theme").addEventListener("change", (event) => {
  document.documentElement.style.colorScheme = event.target.value;
});
document.getElementById("all")?.addEventListener("click", (event) => {
  const wanted = event.target.getAttribute("aria-pressed") !== "true";
  for (const model of document.querySelectorAll("details.model")) model.open = wanted;
  event.target.setAttribute("aria-pressed", String(wanted));
});
window.addEventListener("hashchange", open);
filter();
open();
