"""The style sheet and the script of the HTML report."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --fg: #1b1f24; --bg: #fff; --soft: #f3f4f6; --line: #d6d9de;
  --good: #0a7d4b; --bad: #c0392b; --warn: #9a6700; --dim: #6b7280; --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --fg: #e6e8eb; --bg: #14171b; --soft: #1f242a;
  --line: #363d46; --good: #4cc38a; --bad: #ff7b6b; --warn: #e0b040; --dim: #9aa2ad;
  --link: #6cb2ff; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--fg); background: var(--bg);
  margin: 0 auto; max-width: 1400px; padding: 16px 24px 48px; }
h1 { font-size: 22px; margin: 8px 0 16px; } h2 { font-size: 19px; margin-top: 40px; }
h3 { font-size: 16px; margin: 28px 0 8px; }
a { color: var(--link); } ul { margin: 4px 0; padding-left: 20px; }
code, pre { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: var(--soft); padding: 8px 12px; overflow-x: auto; white-space: pre; }
.banner { border-left: 6px solid var(--good); background: var(--soft); padding: 10px 16px; }
.banner.bad { border-color: var(--bad); } .banner strong { font-size: 18px; }
.banner strong code { font-size: 17px; } .banner p { margin: 6px 0; }
dt { font-weight: 600; } dd { margin: 0 0 8px 16px; }
.plot { width: 100%; height: auto; background: var(--soft); }
.plot text { fill: var(--dim); font: 12px system-ui, sans-serif; }
.plot .grid { stroke: var(--line); } .plot .first { stroke: var(--bad); stroke-dasharray: 5 4; }
circle { fill: var(--dim); } circle.l-ok, circle.l-noise, circle.l-identical { fill: var(--good); }
circle.l-drift { fill: var(--warn); }
circle.l-diverged, circle.l-nan, circle.l-shape, circle.l-unreadable { fill: var(--bad); }
circle:hover, a:focus circle { stroke: var(--fg); stroke-width: 2; }
.legend { color: var(--dim); margin: 6px 0; }
td:nth-child(4) { min-width: 260px; }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(380px, 1fr)); gap: 16px; }
figure { margin: 0; background: var(--soft); padding: 10px; }
figure img { width: 100%; height: 160px; image-rendering: pixelated; display: block; }
figcaption { font-size: 13px; margin-top: 6px; color: var(--dim); overflow-wrap: anywhere; }
.tools { display: flex; gap: 20px; flex-wrap: wrap; align-items: center; }
.tools input[type=search] { font: inherit; padding: 3px 8px; width: 260px; }
.shown { color: var(--dim); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 13px; }
th { position: sticky; top: 0; background: var(--soft); text-align: left; padding: 0; }
th button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0;
  padding: 6px 8px; cursor: pointer; width: 100%; text-align: left; white-space: nowrap; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td { border-top: 1px solid var(--line); padding: 4px 8px; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr:target { outline: 2px solid var(--link); outline-offset: -2px; }
tr.hidden { display: none; } summary { cursor: pointer; }
.badge { white-space: nowrap; } .badge.l-missing { color: var(--dim); }
.badge.l-diverged, .badge.l-nan, .badge.l-shape, .badge.l-unreadable { color: var(--bad);
  font-weight: 600; } .badge.l-drift { color: var(--warn); }
"""

SCRIPT = """
"use strict";
for (const part of document.querySelectorAll("section.case")) {
  const body = part.querySelector("tbody"), rows = Array.from(body.rows);
  const heads = Array.from(part.querySelectorAll("th"));
  const filter = part.querySelector(".filter"), only = part.querySelector(".bad-only");
  const shown = part.querySelector(".shown");
  const words = rows.map(row => row.textContent.toLowerCase());
  const show = () => {
    const wanted = filter.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, i) => {
      const fits = wanted.every(word => words[i].includes(word))
        && (!only.checked || row.classList.contains("bad"));
      row.classList.toggle("hidden", !fits);
      count += fits;
    });
    shown.textContent = `${count} of ${rows.length} rows`;
  };
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.hasAttribute("data-v") ? Number(cell.dataset.v)
      : cell.classList.contains("n") ? null : cell.textContent;
  };
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = rows.map((row, i) => [key(row, column), i, row]);
    keyed.sort(([a, i], [b, j]) => {
      if (a === null || b === null) return (a === null) - (b === null) || i - j;
      const order = typeof a === "number" ? a - b : a.localeCompare(b);
      return (down ? -order : order) || i - j;
    });
    body.append(...keyed.map(entry => entry[2]));
  }));
  filter.addEventListener("input", show);
  only.addEventListener("change", show);
  show();
}
"""
