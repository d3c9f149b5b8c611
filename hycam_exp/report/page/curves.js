// Curves as SVG: one or two lines over steps, with a text that says what they show.
const SIZE = { width: 520, height: 240, left: 56, right: 12, top: 26, bottom: 36 };

function ticks(low, high, count = 4) {
  const span = high - low || Math.abs(high) || 1;
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) found.push(tick);
  return found;
}

const tickText = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(0) : String(Number(value.toPrecision(4))));

// lines: [{ name, kind: "train" | "validation", points: [[step, value], ...] }]
function chart(title, lines) {
  const drawn = lines.map((line) => ({ ...line, points: line.points.filter(([, y]) => y !== null && y !== undefined) }))
    .filter((line) => line.points.length);
  if (!drawn.length) return null;
  const all = drawn.flatMap((line) => line.points);
  const [right, low, high] = [Math.max(...all.map(([x]) => x)), Math.min(...all.map(([, y]) => y)), Math.max(...all.map(([, y]) => y))];
  const bottom = Math.min(low, low > 0 && low < high / 2 ? 0 : low);
  const top = high === bottom ? bottom + 1 : high;
  const x = (step) => SIZE.left + (step / (right || 1)) * (SIZE.width - SIZE.left - SIZE.right);
  const y = (value) => SIZE.height - SIZE.bottom - ((value - bottom) / (top - bottom)) * (SIZE.height - SIZE.top - SIZE.bottom);
  const said = `${title}. ${drawn.map(describe).join(" ")}`;
  return html("div", {}, html("h3", {}, title),
    svg("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": said },
      grid(x, y, bottom, top, right), drawn.map((line) => drawLine(line, x, y)), keys(drawn)));
}

function describe({ name, points }) {
  const [first, last] = [points[0], points[points.length - 1]];
  return `${name}: ${plain(first[1])} at step ${first[0]}, ${plain(last[1])} at step ${last[0]}.`;
}

function grid(x, y, bottom, top, right) {
  const horizontal = ticks(bottom, top).map((value) => [
    svg("line", { class: "axis", x1: SIZE.left, x2: SIZE.width - SIZE.right, y1: y(value), y2: y(value) }),
    svg("text", { class: "tick", x: SIZE.left - 8, y: y(value) + 4, "text-anchor": "end" }, tickText(value)),
  ]);
  const vertical = ticks(0, right, 5).map((step) =>
    svg("text", { class: "tick", x: x(step), y: SIZE.height - SIZE.bottom + 16, "text-anchor": "middle" }, tickText(step)));
  const label = svg("text", { class: "tick", x: SIZE.width - SIZE.right, y: SIZE.height - 4, "text-anchor": "end" }, "step");
  return [horizontal, vertical, label];
}

function drawLine({ kind, points }, x, y) {
  const path = points.map(([step, value], place) => `${place ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const dots = kind === "validation" && points.length <= 40
    ? points.map(([step, value]) => svg("circle", { class: "dot", cx: x(step).toFixed(1), cy: y(value).toFixed(1), r: 3 })) : [];
  return [svg("path", { class: kind, d: path }), dots];
}

function keys(lines) {
  return lines.map((line, place) =>
    svg("text", { class: `key-${line.kind}`, x: SIZE.left + place * 130, y: 14 }, line.name));
}

const pointsOf = (curve, name) => (curve?.columns[name] ?? []).map((value, place) => [curve.columns.step?.[place] ?? place, value]);

function charts(curves) {
  const train = (name) => ({ name: "training", kind: "train", points: pointsOf(curves.train, name) });
  const validation = { name: "validation", kind: "validation", points: pointsOf(curves.validation, "loss") };
  const auxiliary = train("auxiliary_loss");
  return [
    chart("Loss", [train("loss"), validation]),
    chart("Learning rate", [train("learning_rate")]),
    chart("Gradient norm", [train("gradient_norm")]),
    auxiliary.points.some(([, value]) => value) ? chart("Auxiliary loss", [auxiliary]) : null,
  ].filter(Boolean);
}

function thinned(curves) {
  const cut = Object.entries(curves).filter(([, curve]) => curve.every > 1);
  return cut.map(([name, curve]) => `${name}: every ${curve.every}th of ${curve.points.toLocaleString("en")} points`).join("; ");
}
