// Samples with reference and prediction side by side, and the search through those of all runs.
const SHOWN_AT_ONCE = 20;

// A sample is [id, reference, prediction, PPL, ROUGE-L, whether it was cut].
function sampleView(sample, title) {
  const [id, reference, prediction, ppl, rouge, capped] = sample;
  const compared = differences(reference, prediction);
  const [left, right] = compared ? compared.map(marked) : [[reference], [prediction]];
  const numbers = [`PPL ${fixed(ppl)}`, `ROUGE-L ${fixed(rouge)}`, capped ? "reached the most new tokens" : null].filter(Boolean);
  const column = (name, text, raw) =>
    html("div", {}, html("h4", {}, name), html("p", { class: "text" }, raw === "" ? html("em", {}, "empty") : text));
  return html("article", { class: "sample" },
    html("h3", {}, title ?? id, " ", html("span", { class: "hint" }, numbers.join(", "))),
    html("div", { class: "pair" }, column("Reference", left, reference), column("Prediction", right, prediction)));
}

function taskSamples(title, samples, open) {
  const box = html("details", { open }, html("summary", {}, `${title}: ${samples.length} samples`));
  const fill = () => {
    if (box.open && box.children.length === 1) box.append(...samples.map((sample) => sampleView(sample)));
  };
  box.addEventListener("toggle", fill);
  fill();
  return box;
}

async function searchSamples(words, method, task) {
  const found = [];
  for (const row of runRows()) {
    if (method && row.dataset.method !== method) continue;
    const run = await openRun(row.dataset.run);
    for (const [name, samples] of Object.entries(run.samples)) {
      if (task && name !== task) continue;
      for (const sample of samples) {
        const text = `${sample[1]}\n${sample[2]}`.toLowerCase();
        if (words.every((word) => text.includes(word))) found.push([run.id, name, sample]);
      }
    }
  }
  return found;
}

function showFound(found) {
  const results = byId("sample-results");
  const text = `${found.length.toLocaleString("en")} samples found`;
  const list = html("div");
  const more = html("button", { type: "button", class: "plain" }, "Show more");
  let shown = 0;
  const extend = () => {
    const next = found.slice(shown, shown + SHOWN_AT_ONCE);
    list.append(...next.map(([id, task, sample]) =>
      sampleView(sample, [html("a", { href: `#run=${encodeURIComponent(id)}` }, id), `, ${task}, ${sample[0]}`])));
    shown += next.length;
    more.hidden = shown >= found.length;
    announce(`${text}, ${shown} shown`);
  };
  results.replaceChildren(html("p", {}, text), list, more);
  more.addEventListener("click", extend);
  extend();
}

function startSamples() {
  const form = byId("sample-search");
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(form));
    announce("Searching");
    showFound(await searchSamples(values.words.toLowerCase().split(/\s+/).filter(Boolean), values.method, values.task));
  });
}
