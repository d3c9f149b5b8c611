// The list of runs: filtered by what they are, with the scores of the chosen task.
const runRows = () => [...document.querySelectorAll("#run-list tbody tr")];

async function filterRuns() {
  const chosen = {};
  for (const control of byId("run-filters").querySelectorAll("[data-filter]")) {
    chosen[control.dataset.filter] = control.value.trim();
  }
  const { scores } = await shared();
  let shown = 0;
  for (const row of runRows()) {
    row.hidden = !matches(row, chosen);
    shown += !row.hidden;
    showScores(row, scores[row.dataset.run][chosen.task || "mean"] ?? []);
  }
  sortAgain(byId("run-list"));
  const text = `${shown} of ${runRows().length} runs${chosen.task ? `, scores of ${chosen.task}` : ""}`;
  byId("run-count").textContent = text;
  announce(text);
}

function matches(row, chosen) {
  const exact = ["method", "model", "data"].every((name) => !chosen[name] || row.dataset[name] === chosen[name]);
  const words = chosen.words.toLowerCase().split(/\s+/).every((word) => row.dataset.words.includes(word));
  return exact && words && (!chosen.task || row.dataset.task.split(" ").includes(chosen.task));
}

function showScores(row, values) {
  row.querySelectorAll("td.score").forEach((cell, place) => {
    const value = values[place] ?? null;
    cell.textContent = fixed(value);
    if (value === null) delete cell.dataset.value;
    else cell.dataset.value = value;
  });
}

function startRuns() {
  const form = byId("run-filters");
  form.hidden = false;
  form.addEventListener("input", filterRuns);
  form.addEventListener("change", filterRuns);
  form.addEventListener("reset", () => setTimeout(filterRuns));
  form.addEventListener("submit", (event) => event.preventDefault());
}
