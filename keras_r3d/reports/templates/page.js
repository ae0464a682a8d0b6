"use strict";
// All texts are set as text, never as HTML: names of classes and files may be anything.
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function draw(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)} %`);
const color = (number) => `var(--c${number % 10})`;
const words = (text) => String(text).toLowerCase();

// Rows of parts, {name: [[start, end, label], …]}, on an axis from `low` to `high`; a click on one goes to its start.
// Parts that overlap lie below each other.
function strips(rows, low, high, hue, seek = null) {
  const place = (x) => 100 * (x - low) / (high - low || 1);
  return make("div", { class: "strips" }, ...Object.entries(rows).map(([name, parts]) => {
    const ends = [];
    const buttons = [...parts].sort((a, b) => a[0] - b[0]).map(([from, to, label]) => {
      const free = ends.findIndex((end) => end <= from), lane = free < 0 ? ends.length : free;
      ends[lane] = to;
      return make("button", {
        style: `left:${place(from)}%;width:${place(to) - place(from)}%;--lane:${lane};--hue:${hue(label) ?? "var(--dim)"}`,
        title: `${label}, ${name} from ${from.toFixed(1)} to ${to.toFixed(1)} s`,
        ...(seek ? { onclick: () => seek(from) } : { disabled: "" }),
      }, label);
    });
    return make("div", { "data-name": name, style: `--lanes:${ends.length || 1}` }, ...buttons);
  }));
}

// A table of columns {title, kind, values}: it sorts, filters and turns pages.
function table(host, columns, { size = 25, label = "rows", marks = [], hue = null } = {}) {
  const count = columns[0].values.length;
  const texts = Array.from({ length: count }, (_, row) =>
    words(columns.filter((c) => !c.kind).map((c) => c.values[row]).join("\n")));
  let order = Array.from({ length: count }, (_, row) => row);
  let page = 0, sorted = null, falling = false, where = {};
  const search = make("input", { type: "search", placeholder: "Filter", "aria-label": `Filter ${label}`, oninput: () => turn(0) });
  const mark = make("select", { "aria-label": "Show", onchange: () => turn(0) },
    make("option", { value: "" }, "all"), ...marks.map((name) => make("option", { value: name }, name)));
  const chip = make("button", { hidden: "", onclick: () => only({}) });
  const before = make("button", { onclick: () => turn(page - 1), "aria-label": "Previous page" }, "‹");
  const after = make("button", { onclick: () => turn(page + 1), "aria-label": "Next page" }, "›");
  const place = make("span", { class: "dim", "aria-live": "polite" });
  const heads = columns.map((column) => make("th", { class: column.kind && column.kind !== "strips" && "number", scope: "col" },
    make("button", { onclick: () => sort(column) }, column.title || "result")));
  const body = make("tbody");
  const pager = [before, after];
  host.append(
    make("div", { class: "tools" }, search, ...(marks.length ? [mark] : []), chip, place, ...pager),
    make("div", { class: "scroll" }, make("table", { class: "wide" }, make("thead", {}, make("tr", {}, ...heads)), body)));

  function sort(column) {
    falling = sorted === column ? !falling : Boolean(column.kind);
    sorted = column;
    const rank = (row) => column.values[row];
    order.sort((a, b) => {
      const x = rank(a), y = rank(b);
      if (x === null || y === null) return (x === null) - (y === null) || a - b;  // none comes last
      const sign = column.kind ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
      return (falling ? -sign : sign) || a - b;
    });
    heads.forEach((head, n) => columns[n] === column
      ? head.setAttribute("aria-sort", falling ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
    turn(0);
  }

  function cell(column, row) {
    const value = column.values[row];
    if (!column.kind) {
      const kind = value === "no score" ? "error" : value;
      return make("td", { class: marks.includes(value) ? kind : "" }, make("bdi", {}, String(value ?? "")));
    }
    if (column.kind === "strips") return make("td", { class: "wide" }, strips(value[1], 0, value[0], hue));
    if (column.kind === "number") return make("td", { class: "number" }, String(value ?? "–"));
    if (column.kind === "seconds") return make("td", { class: "number" }, `${value.toFixed(1)} s`);
    const bar = make("i", { style: `width:${100 * (value ?? 0)}%` });
    return make("td", { class: "number" }, percent(value), make("span", { class: "bar", "aria-hidden": "true" }, bar));
  }

  function turn(to) {
    const wanted = words(search.value), result = columns.find((c) => c.title === "");
    const rows = order.filter((row) => (!wanted || texts[row].includes(wanted))
      && (!mark.value || result.values[row] === mark.value)
      && Object.entries(where).every(([title, value]) => columns.find((c) => c.title === title).values[row] === value));
    const pages = Math.max(1, Math.ceil(rows.length / size));
    page = Math.min(Math.max(0, to), pages - 1);
    const shown = rows.slice(page * size, (page + 1) * size);
    body.replaceChildren(...shown.map((row) => make("tr", {}, ...columns.map((column) => cell(column, row)))));
    const first = rows.length ? page * size + 1 : 0;
    place.textContent = `${first}–${page * size + shown.length} of ${rows.length} ${label}`;
    before.disabled = !page;
    after.disabled = page === pages - 1;
    for (const button of pager) button.hidden = pages === 1;
  }

  function only(values) {
    where = values;
    chip.hidden = !Object.keys(values).length;
    chip.textContent = `${Object.entries(values).map(([title, value]) => `${title}: ${value}`).join(", ")} ×`;
    turn(0);
  }

  turn(0);
  return { only };
}

// Lines over each other: {title, xlabel, series: [{name, x, y}], top, range}, and rows of `strips` below. Returns a
// function that moves a line to a place on the x axis; `seek` is called with the place that is clicked.
function chart(host, { title, xlabel, series, top = null, range = [], rows = {} }, seek = null) {
  const readout = make("p", { class: "readout" }, "\u00a0");
  const canvas = document.createElementNS(SVG, "svg");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", title);
  const legend = make("ul", { class: "legend" }, ...series.filter((line) => line.name).map((line, n) =>
    make("li", {}, make("i", { style: `border-color:${color(n)};border-top-style:${n < 10 ? "solid" : "dashed"}` }), make("bdi", {}, line.name))));
  const xs = series.flatMap((line) => line.x).concat(range), ys = series.flatMap((line) => line.y).filter((y) => y !== null);
  const [left, low] = [Math.min(...extent(xs)), Math.min(0, ...extent(ys))];
  const right = Math.max(...extent(xs), left + 1e-9), high = top ?? (Math.max(...extent(ys), low + 1e-9));
  const hue = (label) => { const place = series.findIndex((line) => line.name === label); return place < 0 ? null : color(place); };
  const below = strips(rows, left, right, hue, seek);
  host.append(make("h3", {}, title), canvas, below, readout, legend);
  const margin = { left: 48, right: 10, top: 8, bottom: 34 }, height = 240;
  let width = 0, cursor = null, at = null;
  const px = (x) => margin.left + (x - left) / (right - left) * (width - margin.left - margin.right);
  const py = (y) => height - margin.bottom - (y - low) / (high - low) * (height - margin.top - margin.bottom);

  function redraw() {
    width = Math.max(240, host.clientWidth);
    canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
    canvas.replaceChildren();
    for (const y of ticks(low, high, 5)) {
      draw(canvas, "line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: py(y), y2: py(y) });
      draw(canvas, "text", { x: margin.left - 6, y: py(y) + 4, "text-anchor": "end" }, short(y));
    }
    for (const x of ticks(left, right, width / 90)) {
      draw(canvas, "text", { x: px(x), y: height - margin.bottom + 16, "text-anchor": "middle" }, short(x));
    }
    draw(canvas, "text", { x: (margin.left + width) / 2, y: height - 2, "text-anchor": "middle" }, xlabel);
    series.forEach((line, n) => {
      let path = "", pen = "M";
      line.y.forEach((y, i) => { if (y === null) pen = "M"; else { path += `${pen}${px(line.x[i]).toFixed(1)} ${py(y).toFixed(1)}`; pen = "L"; } });
      draw(canvas, "path", { d: path, fill: "none", style: `stroke:${color(n)}`, "stroke-width": 2, "stroke-linejoin": "round", "stroke-dasharray": n < 10 ? "" : "5 4" });
      if (line.x.length <= 60) {
        line.y.forEach((y, i) => y !== null && draw(canvas, "circle", { cx: px(line.x[i]), cy: py(y), r: 2.5, style: `fill:${color(n)}` }));
      }
    });
    cursor = draw(canvas, "line", { class: "axis", y1: margin.top, y2: height - margin.bottom, visibility: "hidden", "stroke-width": 1.5 });
    if (at !== null) move(at);
  }

  function nearest(line, x) {
    let best = 0;
    line.x.forEach((other, i) => { if (Math.abs(other - x) < Math.abs(line.x[best] - x)) best = i; });
    return best;
  }

  function move(x) {
    at = Math.min(right, Math.max(left, x));
    cursor.setAttribute("x1", px(at));
    cursor.setAttribute("x2", px(at));
    cursor.setAttribute("visibility", "visible");
    below.style.setProperty("--at", `${100 * (at - left) / (right - left)}%`);
    const values = series.slice(0, 6).map((line) => `${line.name} ${short(line.y[nearest(line, at)])}`.trim());
    readout.textContent = `${xlabel} ${short(at)}: ${values.join(" · ")}`;
  }

  const place = (event) => left + (event.clientX - canvas.getBoundingClientRect().left - margin.left)
    / (width - margin.left - margin.right) * (right - left);
  canvas.addEventListener("pointermove", (event) => {
    if (!seek) move(place(event)); else if (event.buttons) seek(place(event));
  });
  canvas.addEventListener("pointerdown", (event) => seek && seek(place(event)));
  if (seek) canvas.style.cursor = "pointer";
  new ResizeObserver(redraw).observe(host);
  redraw();
  return move;
}

const extent = (values) => values.reduce(([low, high], x) => [Math.min(low, x), Math.max(high, x)], [Infinity, -Infinity]);
const short = (x) => (x === null || x === undefined ? "–" : Math.abs(x) >= 1000 || (x && Math.abs(x) < 1e-3) ? x.toExponential(1) : String(Number(x.toPrecision(3))));

function ticks(low, high, count) {
  const raw = (high - low) / Math.max(1, count), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const found = [];
  for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + step * 1e-9; x += step) found.push(x);
  return found;
}

// Accuracy over confidence: bars below the diagonal are surer than right.
function reliability(host, { counts, confidence, accuracy }) {
  const width = 480, height = 320, left = 48, bottom = 36, top = 22;
  const canvas = document.createElementNS(SVG, "svg");
  canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "accuracy over confidence");
  canvas.style.maxWidth = "34rem";
  host.append(canvas);
  const px = (x) => left + x * (width - left - 8), py = (y) => height - bottom - y * (height - bottom - top);
  for (const tick of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    draw(canvas, "line", { class: "grid", x1: left, x2: width - 8, y1: py(tick), y2: py(tick) });
    draw(canvas, "text", { x: left - 6, y: py(tick) + 4, "text-anchor": "end" }, short(tick));
    draw(canvas, "text", { x: px(tick), y: height - bottom + 16, "text-anchor": "middle" }, short(tick));
  }
  counts.forEach((count, n) => {
    if (!count) return;
    const x = px(n / counts.length), side = px((n + 1) / counts.length) - x;
    draw(canvas, "rect", { x: x + 1, y: py(accuracy[n]), width: side - 2, height: py(0) - py(accuracy[n]), style: "fill:var(--accent)", opacity: 0.35 });
    draw(canvas, "circle", { cx: px(confidence[n]), cy: py(accuracy[n]), r: 3.5, style: "fill:var(--ink)" });
    draw(canvas, "text", { x: x + side / 2, y: top - 8, "text-anchor": "middle" }, count);
  });
  draw(canvas, "line", { x1: px(0), y1: py(0), x2: px(1), y2: py(1), style: "stroke:var(--bad)", "stroke-dasharray": "6 4", "stroke-width": 1.5 });
  draw(canvas, "text", { x: (left + width) / 2, y: height - 2, "text-anchor": "middle" }, "confidence");
}

// The matrix of at most 30 classes at a time: those that the filter leaves with the most mistakes.
function confusion(host, names, cells, pick) {
  const most = 30, mistakes = names.map(() => 0), sizes = names.map(() => 0), by = names.map(() => new Map());
  for (const [t, p, n] of cells) {
    by[t].set(p, n);
    sizes[t] += n;
    if (t !== p) { mistakes[t] += n; mistakes[p] += n; }
  }
  const search = make("input", { type: "search", placeholder: "Filter classes", "aria-label": "Filter classes", oninput: redraw });
  const orders = {
    "in order of labels": (a, b) => a - b,
    "by name": (a, b) => names[a].localeCompare(names[b], undefined, { numeric: true }),
    "most mistakes first": (a, b) => mistakes[b] - mistakes[a] || a - b,
    "lowest recall first": (a, b) => share(a) - share(b) || a - b,
  };
  const share = (n) => (sizes[n] ? (by[n].get(n) ?? 0) / sizes[n] : 2);
  const order = make("select", { "aria-label": "Order", onchange: redraw }, ...Object.keys(orders).map((name) => make("option", {}, name)));
  const note = make("span", { class: "dim", "aria-live": "polite" });
  const body = make("div", { class: "scroll" });
  host.append(make("div", { class: "tools" }, search, order, note), body);

  function redraw() {
    const wanted = words(search.value);
    const fitting = names.map((_, n) => n).filter((n) => words(names[n]).includes(wanted));
    const shown = [...fitting].sort(orders["most mistakes first"]).slice(0, most).sort(orders[order.value]);
    const all = shown.length === names.length;
    note.textContent = `${all ? "" : `${shown.length} of `}${names.length} classes`
      + (shown.length < fitting.length ? ", those with the most mistakes" : "");
    const heads = shown.map((n) => make("th", { scope: "col", title: names[n] }, make("span", {}, names[n])));
    if (!all) heads.push(make("th", { scope: "col" }, make("span", {}, "other classes")));
    const rows = shown.map((t) => {
      const parts = shown.map((p) => {
        const n = by[t].get(p) ?? 0, part = n / (sizes[t] || 1);
        const shade = n ? `background:rgba(var(--heat),${(0.08 + 0.62 * part).toFixed(3)})` : "";
        const text = `true: ${names[t]}, predicted: ${names[p]}: ${n}`;
        return make("td", { class: t === p ? "true" : "", style: shade },
          n ? make("button", { title: text, onclick: () => pick({ true: names[t], predicted: names[p] }) }, n) : "");
      });
      if (!all) {
        const inside = shown.reduce((sum, p) => sum + (by[t].get(p) ?? 0), 0);
        parts.push(make("td", {}, sizes[t] - inside ? String(sizes[t] - inside) : ""));
      }
      return make("tr", {}, make("th", { scope: "row", title: names[t] }, make("bdi", {}, names[t])), ...parts);
    });
    body.replaceChildren(make("table", { class: "matrix" }, make("thead", {}, make("tr", {}, make("th"), ...heads)), make("tbody", {}, ...rows)));
  }

  redraw();
}

// Clips play while they can be seen; whoever wants less motion starts them by hand.
function playClips() {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const watcher = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
    if (isIntersecting) target.play().catch(() => {}); else target.pause();
  }));
  for (const video of document.querySelectorAll(".clips video")) {
    if (still) video.controls = true; else watcher.observe(video);
  }
}
