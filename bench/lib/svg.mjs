// The plot as SVG, written by hand: small multiples, one per load, readable on light and dark ground. Pure.
const COLUMNS = 4;
const PANEL = { width: 300, height: 230, left: 46, right: 12, top: 44, bottom: 58 };
const HEAD = 64;
const LABELS_MAX = 6;

const TITLES = { 'holdfast-1': 'one node', 'holdfast-3': 'three nodes (leader)' };
const CLASSES = { 'holdfast-1': 'one', 'holdfast-3': 'three' };

const STYLE = `
  svg { --ink: #1f2328; --soft: #59636e; --grid: #d1d9e0; --one: #0969da; --three: #bc4c00; --floor: #cf222e; background: #ffffff; font: 12px system-ui, sans-serif; }
  @media (prefers-color-scheme: dark) { svg { --ink: #f0f6fc; --soft: #9198a1; --grid: #3d444d; --one: #4493f8; --three: #f0883e; --floor: #f85149; background: #0d1117; } }
  text { fill: var(--ink); } .soft { fill: var(--soft); font-size: 10.5px; } .title { font-weight: 600; } .head { font-size: 15px; font-weight: 600; }
  .grid { stroke: var(--grid); stroke-width: 1; } .axis { stroke: var(--soft); stroke-width: 1; }
  .line { fill: none; stroke-width: 2; } .one { stroke: var(--one); fill: var(--one); } .three { stroke: var(--three); fill: var(--three); } .line.one, .line.three { fill: none; }
  .floor { stroke: var(--floor); stroke-width: 1.5; stroke-dasharray: 5 4; }`;

const escape = (text) => String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
const round = (value) => Math.round(value * 10) / 10;
const text = (x, y, what, attributes = '') => `<text x="${round(x)}" y="${round(y)}"${attributes}>${escape(what)}</text>`;
const line = (x1, y1, x2, y2, className) => `<line class="${className}" x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}"/>`;

/** A round step that gives four to eight ticks. */
function stepFor(top) {
  return [0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10].find((step) => top / step <= 8) ?? top / 8;
}

function panelSvg(panel, commits, left, top) {
  const width = PANEL.width - PANEL.left - PANEL.right;
  const height = PANEL.height - PANEL.top - PANEL.bottom;
  const values = panel.series.flatMap(({ points }) => points.map(({ y }) => y));
  const step = stepFor(Math.max(1, panel.floor ?? 0, ...values) * 1.05);
  const ceiling = Math.ceil((Math.max(1, panel.floor ?? 0, ...values) * 1.05) / step) * step;
  const x = (place) => PANEL.left + (commits.length < 2 ? width / 2 : 8 + (place * (width - 16)) / (commits.length - 1));
  const y = (value) => PANEL.top + height * (1 - value / ceiling);
  const parts = [
    text(PANEL.left, 18, panel.title, ' class="title"'),
    text(PANEL.left, 33, `share of ${panel.of}`, ' class="soft"'),
  ];
  for (let tick = 0; tick <= ceiling + 1e-9; tick += step) {
    parts.push(line(PANEL.left, y(tick), PANEL.left + width, y(tick), tick === 0 ? 'axis' : 'grid'));
    parts.push(text(PANEL.left - 6, y(tick) + 4, String(Math.round(tick * 100) / 100), ' class="soft" text-anchor="end"'));
  }
  parts.push(line(PANEL.left, PANEL.top, PANEL.left, PANEL.top + height, 'axis'));
  const every = Math.max(1, Math.ceil((commits.length - 1) / (LABELS_MAX - 1)));
  for (const [place, label] of commits.entries()) {
    if (place % every !== 0 && place !== commits.length - 1) continue;
    if (place !== commits.length - 1 && commits.length - 1 - place < every && place % every === 0 && place !== 0) continue;
    const at = PANEL.top + height + 12;
    parts.push(text(x(place), at, label, ` class="soft" text-anchor="end" transform="rotate(-35 ${round(x(place))} ${round(at)})"`));
  }
  parts.push(text(PANEL.left + width / 2, PANEL.height - 4, 'commit, by date', ' class="soft" text-anchor="middle"'));
  if (panel.floor !== undefined) parts.push(line(PANEL.left, y(panel.floor), PANEL.left + width, y(panel.floor), 'floor'));
  for (const { peer, points } of panel.series) parts.push(...seriesSvg(peer, points, x, y));
  if (values.length === 0) parts.push(text(PANEL.left + width / 2, PANEL.top + height / 2, 'not measured yet', ' class="soft" text-anchor="middle"'));
  return `<g transform="translate(${left} ${top})">\n${parts.join('\n')}\n</g>`;
}

function seriesSvg(peer, points, x, y) {
  const className = CLASSES[peer];
  const dots = points.map(
    (point) => `<circle class="${className}" cx="${round(x(point.x))}" cy="${round(y(point.y))}" r="3"><title>${escape(`${TITLES[peer]}, ${point.label}: ${point.y.toFixed(2)}`)}</title></circle>`,
  );
  if (points.length < 2) return dots;
  const path = points.map((point) => `${round(x(point.x))},${round(y(point.y))}`).join(' ');
  return [`<polyline class="line ${className}" points="${path}"/>`, ...dots];
}

function legend() {
  let at = PANEL.left;
  const parts = [text(at, 24, "Holdfast beside redis-server, in one run on one machine: each line's share of the peer that is named", ' class="head"')];
  for (const [className, title] of [...Object.entries(TITLES).map(([peer, name]) => [CLASSES[peer], name]), ['floor', 'floor, where one is set']]) {
    parts.push(line(at, 44, at + 26, 44, className === 'floor' ? 'floor' : `line ${className}`));
    parts.push(text(at + 32, 48, title));
    at += 60 + title.length * 7;
  }
  return parts.join('\n');
}

export function svgOf({ commits, panels }) {
  const width = COLUMNS * PANEL.width;
  const height = HEAD + Math.ceil(panels.length / COLUMNS) * PANEL.height + 8;
  const body = panels.map((panel, i) => panelSvg(panel, commits, (i % COLUMNS) * PANEL.width, HEAD + Math.floor(i / COLUMNS) * PANEL.height));
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Ratios of Holdfast's throughput to redis-server's, by commit">\n` +
    `<style>${STYLE}\n</style>\n${legend()}\n${body.join('\n')}\n</svg>\n`
  );
}
