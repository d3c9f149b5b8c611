// One run: scores, curves, samples, cost, environment, config, routing.

const taskTitle = (titles, task) => titles.tasks[task] ?? task;

const section = (title, ...content) => html("section", {}, html("h2", {}, title), content);
const facts = (pairs) =>
  html("dl", { class: "facts" }, pairs.map(([name, value]) => [html("dt", {}, name), html("dd", {}, value)]));

function scrolled(name, table) {
  return html("div", { class: "scroll", role: "region", "aria-label": name, tabindex: 0 }, table);
}

function tableOf(name, head, rows) {
  const body = rows.map(([first, ...cells]) => html("tr", {}, html("th", { scope: "row" }, first), cells.map((value) =>
    html("td", { class: "number", "data-value": typeof value === "number" ? value : null }, typeof value === "number" ? fixed(value) : plain(value)))));
  const table = html("table", { class: "sortable" }, html("caption", { class: "visually-hidden" }, name),
    html("thead", {}, html("tr", {}, head.map((text, place) =>
      html("th", { scope: "col", "data-column": place, class: place ? "number" : null }, text)))), html("tbody", {}, body));
  makeSortable(table);
  return scrolled(name, table);
}

function scoresOf(run, titles) {
  const values = new Map(run.scored.map(([task, metric], place) => [`${task} ${metric}`, run.scores[place]]));
  const tasks = [...new Set(run.scored.map(([task]) => task))].filter((task) => task !== "retention");
  const columns = Object.entries(titles.metrics).filter(([metric]) => run.scored.some(([, name]) => name === metric));
  const named = (task) => taskTitle(titles, task);
  const rows = tasks.map((task) => [named(task), ...columns.map(([metric]) => values.get(`${task} ${metric}`) ?? null)]);
  const retention = run.scored.filter(([task]) => task === "retention")
    .map(([task, metric]) => [metric, plain(values.get(`${task} ${metric}`))]);
  const declared = Object.entries(run.metrics).map(([name, of]) => [name, `${of.better} is better; ${of.aggregation} (${of.version})`]);
  return section("Scores", tableOf("Scores by task", ["Task", ...columns.map(([, title]) => title)], rows),
    retention.length ? [html("h3", {}, "General text (retention)"), facts(retention)] : null,
    html("details", {}, html("summary", {}, "How each is computed"), facts(declared)));
}

const isNested = (value) => value !== null && typeof value === "object" && !(Array.isArray(value) && value.every((v) => typeof v !== "object"));
const written = (value) => (Array.isArray(value) ? value.map(written).join(", ") || "none" : value === null ? "null" : String(value));

function tree(values) {
  const entries = Object.entries(values);
  const flat = entries.filter(([, value]) => !isNested(value));
  const nested = entries.filter(([, value]) => isNested(value));
  return html("div", { class: "tree" }, flat.length ? facts(flat.map(([key, value]) => [key, written(value)])) : null,
    nested.map(([key, value]) => html("details", { open: Object.keys(value).length <= 4 }, html("summary", {}, key), tree(value))));
}

function configOf(run) {
  const nested = Object.entries(run.config).filter(([, value]) => isNested(value));
  const single = Object.entries(run.config).filter(([, value]) => !isNested(value));
  return section("Config", facts(single.map(([key, value]) => [key, written(value)])), nested.map(([key, value]) =>
    html("details", {}, html("summary", {}, key, value.name ? `: ${value.name}` : ""), tree(value))));
}

function costOf(run) {
  const { seconds = {}, peak_memory: memory, hardware, ...rest } = run.cost;
  const total = Object.values(seconds).reduce((sum, value) => sum + value, 0);
  const lines = [["seconds, all phases", plain(Math.round(total * 10) / 10)], ...Object.entries(seconds).map(([phase, value]) => [`seconds, ${phase}`, plain(value)])];
  if (memory && memory.bytes !== null) lines.push([`peak memory (${memory.kind})`, `${(memory.bytes / 2 ** 20).toFixed(0)} MiB`]);
  const { parameters_trainable: trained, parameters_total: all, tokens_trained: tokens } = run.counts;
  return section("Cost", facts([...lines, ...Object.entries(rest).map(([key, value]) => [key, isNested(value) ? tree(value) : plain(value)]),
    ["trained parameters", `${plain(trained)} of ${plain(all)}`], ["tokens trained on", plain(tokens)],
    ...Object.entries(run.fit).map(([key, value]) => [key, plain(value)])]));
}

function environmentOf(run) {
  const hardware = Object.entries(run.cost.hardware ?? {}).map(([key, value]) => [key, written(value)]);
  const code = [["commit", "commit"], ["checkout differs from it", "dirty"], ["version of the results", "results_version"]];
  return section("Environment", facts([...hardware, ...code.map(([name, key]) => [name, written(run.code[key] ?? run[key] ?? null)])]),
    html("details", {}, html("summary", {}, "Versions"), facts(Object.entries(run.versions))),
    html("details", {}, html("summary", {}, "Data"), tree(run.data)),
    html("details", {}, html("summary", {}, "Records"), tree(run.counts.records ?? {})));
}

function routingOf(run, titles) {
  if (!run.routing.length) return null;
  const width = Math.max(...run.routing.map((row) => row.weights.length));
  const heads = ["Layer", "Task", "Entropy", ...Array.from({ length: width }, (_, place) => `Module ${place}`)];
  const rows = run.routing.map((row) => [row.layer, taskTitle(titles, row.task), row.entropy, ...row.weights]);
  return section("Routing", html("p", {}, "Mean weight of every module, by layer and task, in the best validation."),
    html("details", {}, html("summary", {}, `${rows.length} lines`), tableOf("Routing", heads, rows)));
}

function samplesOf(run, titles) {
  const tasks = Object.entries(run.samples);
  if (!tasks.length) return section("Samples", html("p", {}, "The run has no texts."));
  return section("Samples", html("p", { class: "hint" }, "Marked words are in one of the two texts only; texts with little in common are not marked."),
    tasks.map(([task, samples], place) => taskSamples(taskTitle(titles, task), samples, place === 0)));
}

async function runView(id) {
  const [run, { titles }] = await Promise.all([openRun(id), shared()]);
  const drawn = charts(run.curves);
  const cut = thinned(run.curves);
  const { method, model, data } = run.config;
  return [
    html("p", {}, `${titles.methods[method.name] ?? method.name} on ${titles.models[model.name] ?? model.name}, ${data.name}, fold ${run.config.fold}, seed ${plain(run.config.seed)}.`),
    run.notes.length ? html("div", { class: "problems" }, html("h2", {}, "Notes"), html("ul", {}, run.notes.map((note) => html("li", {}, note)))) : null,
    scoresOf(run, titles),
    drawn.length ? section("Curves", html("div", { class: "charts" }, drawn), cut ? html("p", { class: "hint" }, `Shown: ${cut}, and the last.`) : null) : null,
    samplesOf(run, titles),
    html("div", { class: "columns" }, costOf(run), environmentOf(run)),
    configOf(run),
    routingOf(run, titles),
  ].filter(Boolean);
}
