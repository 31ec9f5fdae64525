// Line charts as SVG, coloured by the style sheet.
import { number, svgEl } from "./dom.js";

const WIDTH = 360;
const HEIGHT = 170;
const EDGE = { left: 42, right: 12, top: 12, bottom: 26 };
const MOST_POINTS = 240;
const LOG_RATIO = 20; // a larger range of positive values gets a logarithmic axis

// lines: [{name, points: [[x, y], ...]}]; marks: [{x, text}] are vertical lines.
export function lineChart({ title, lines, unit = "", marks = [], zero = false }) {
  const width = WIDTH;
  const all = lines.flatMap((line) => line.points.filter((point) => Number.isFinite(point[1])));
  const figure = document.createElement("figure");
  figure.className = "chart";
  const caption = document.createElement("figcaption");
  figure.append(caption);
  const last = lines
    .map((line) => `${lines.length > 1 ? `${line.name} ` : ""}${number(line.points.at(-1)?.[1] ?? NaN)}`)
    .join(", ");
  caption.textContent = title;
  if (!all.length) return figure;
  if (lines.length === 1)
    caption.append(Object.assign(document.createElement("b"), { textContent: ` ${last}` }));
  else caption.append(legend(lines));
  const xs = all.map((point) => point[0]);
  const ys = all.map((point) => point[1]);
  if (zero) ys.push(0);
  const log = Math.min(...ys) > 0 && Math.max(...ys) > LOG_RATIO * Math.min(...ys);
  const change = log ? Math.log10 : (value) => value;
  const x = scale(Math.min(...xs), Math.max(...xs), EDGE.left, width - EDGE.right, 0);
  const y = scale(
    change(Math.min(...ys)),
    change(Math.max(...ys)),
    HEIGHT - EDGE.bottom,
    EDGE.top,
    zero ? 0 : 0.06,
  );
  const svg = svgEl("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`,
    role: "img",
    "aria-label": `${title}: last ${last}`,
  });
  svg.append(...across(y, log, width), ...below(x, unit, width), ...marks.flatMap((mark) => marked(x, mark)));
  lines.forEach((line, i) => svg.append(...drawn(line.points, x, (value) => y(change(value)), i)));
  figure.append(svg);
  return figure;
}

function legend(lines) {
  const node = document.createElement("span");
  node.className = "legend";
  lines.forEach((line, i) => {
    const item = document.createElement("span");
    item.className = `key line-${i}`;
    item.textContent = line.name;
    node.append(item);
  });
  return node;
}

function scale(low, high, from, to, room) {
  const span = high - low || Math.abs(high) * 0.2 || 1;
  const a = high === low && room ? low - span / 2 : low - room * span;
  const b = high === low && room ? high + span / 2 : high + room * span;
  const map = (value) => from + ((value - a) / (b - a || 1)) * (to - from);
  return Object.assign(map, { low: a, high: b });
}

function ticks(low, high, count = 4) {
  const rough = (high - low) / count || 1;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * size).find((n) => n >= rough);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n += 1) found.push(n * step);
  return found;
}

function across(y, log, width) {
  const values = log && y.high - y.low >= 2 ? decades(y) : ticks(y.low, y.high);
  return values.flatMap((value) => [
    svgEl("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }),
    svgEl(
      "text",
      { class: "tick", x: EDGE.left - 7, y: y(value) + 4, "text-anchor": "end" },
      short(log ? 10 ** value : value),
    ),
  ]);
}

function decades(y) {
  const found = [];
  for (let n = Math.ceil(y.low); n <= y.high; n += 1) found.push(n);
  return found;
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 10000) return `${Number((value / 1000).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

function below(x, unit, width) {
  const marks = ticks(x.low, x.high, 5).filter((value) => x(value) < width - 66);
  return [
    ...marks.map((value) =>
      svgEl("text", { class: "tick", x: x(value), y: HEIGHT - 8, "text-anchor": "middle" }, short(value)),
    ),
    svgEl("text", { class: "tick", x: width - EDGE.right, y: HEIGHT - 8, "text-anchor": "end" }, unit),
  ];
}

function marked(x, mark) {
  return [
    svgEl(
      "line",
      { class: "mark", x1: x(mark.x), x2: x(mark.x), y1: EDGE.top, y2: HEIGHT - EDGE.bottom },
      svgEl("title", {}, mark.text),
    ),
  ];
}

function drawn(points, x, y, i) {
  const finite = averaged(points.filter((point) => Number.isFinite(point[1])));
  if (!finite.length) return [];
  const path = finite.map((point) => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`).join(" ");
  const end = finite.at(-1);
  return [
    svgEl("polyline", { class: `line line-${i}`, points: path }),
    svgEl("circle", { class: `dot line-${i}`, cx: x(end[0]).toFixed(1), cy: y(end[1]).toFixed(1), r: 3.5 }),
  ];
}

function averaged(points) {
  const size = Math.ceil(points.length / MOST_POINTS);
  if (size <= 1) return points;
  const found = [];
  for (let i = 0; i < points.length; i += size) {
    const part = points.slice(i, i + size);
    found.push([part.at(-1)[0], part.reduce((sum, point) => sum + point[1], 0) / part.length]);
  }
  return found;
}
