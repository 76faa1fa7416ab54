"""The look of a report's page and the few lines of script that sort its tables; nothing is loaded from anywhere."""

CSS = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1b1f24; --quiet: #57606a; --grid: #d3d9df;
  --card: #f6f8fa; --accent: #2f6fb5; --mark: #b35900; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --ink: #e4e8ec; --quiet: #98a2ad; --grid: #353c44;
  --card: #1c2126; --accent: #7db4ee; --mark: #f0a860; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0 auto; max-width: 1180px; padding: 2.5rem 1.5rem 5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; margin: 3rem 0 .8rem; padding-top: .8rem; border-top: 1px solid var(--grid); }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 1rem 0 1.6rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1rem 0; color: var(--quiet);
  font-size: .88rem; }
dt { font-weight: 600; }
dd { margin: 0; overflow-wrap: anywhere; }
.findings { background: var(--card); border-left: 4px solid var(--accent); border-radius: 6px; margin: 0;
  padding: 1.1rem 1.4rem 1.1rem 2.4rem; }
.findings li { margin: .4rem 0; }
figure { margin: 1.6rem 0; }
figure svg { width: 100%; height: auto; display: block; }
figcaption, .note { color: var(--quiet); font-size: .86rem; }
figcaption { margin-top: .4rem; }
details { margin: .7rem 0; border: 1px solid var(--grid); border-radius: 6px; }
summary { cursor: pointer; padding: .55rem .9rem; font-weight: 600; font-size: .95rem; }
details[open] summary { border-bottom: 1px solid var(--grid); }
.note { margin: .6rem .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .84rem; font-variant-numeric: tabular-nums; }
th, td { padding: .36rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid); }
td.text, th:first-child, td:first-child { text-align: left; }
td.text { white-space: normal; }
tbody tr:last-child td { border-bottom: 0; }
tbody tr:hover { background: var(--card); }
th button { all: unset; cursor: pointer; font-weight: 600; color: var(--quiet); }
th button:hover, th button:focus-visible { color: var(--accent); }
th[aria-sort="ascending"] button::after { content: " \\2191"; }
th[aria-sort="descending"] button::after { content: " \\2193"; }
td.marked { color: var(--mark); }
td.marked::after { content: " (!)"; }
@media print { details { break-inside: avoid; } }
"""

SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.order ?? row.cells[column].textContent;
    const compare = (a, b) => {
      const x = key(a), y = key(b), m = Number(x), n = Number(y);
      return Number.isNaN(m) || Number.isNaN(n) ? x.localeCompare(y) : m - n || 0;
    };
    body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * compare(a, b)));
  }));
}
"""
