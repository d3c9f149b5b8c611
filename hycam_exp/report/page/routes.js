// What the address asks for: a run by #run=ID, else the report, at the place that the address names.
let openedFrom = null;

// The run's id; an address that is no valid one is taken as it stands.
function addressed() {
  const text = location.hash.slice("#run=".length);
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

async function route() {
  const id = location.hash.startsWith("#run=") ? addressed() : null;
  if (id === null) showReport();
  else await showRun(id);
}

function showReport() {
  const wasOpen = !byId("run").hidden;
  byId("run").hidden = true;
  byId("report").hidden = false;
  document.title = "HyCAM experiments: the report";
  if (!wasOpen) return;
  byId("run-content").replaceChildren();
  const target = location.hash === "#runs" ? null : document.getElementById(location.hash.slice(1));
  const link = [...document.querySelectorAll("#run-list a")].find((a) => a.getAttribute("href") === openedFrom);
  if (target) target.scrollIntoView();
  else if (link) link.focus();
}

async function showRun(id) {
  openedFrom = location.hash;
  byId("report").hidden = true;
  byId("run").hidden = false;
  byId("run-title").textContent = id;
  document.title = `${id}: HyCAM experiments`;
  const content = hasRun(id) ? await runView(id).catch(failed) : [html("p", { class: "problems" }, "There is no such run in this report.")];
  if (location.hash !== openedFrom) return;
  byId("run-content").replaceChildren(...content);
  window.scrollTo(0, 0);
  byId("run-title").focus({ preventScroll: true });
}

function failed(error) {
  console.error(error);
  return [html("p", { class: "problems" }, `The run cannot be shown: ${error.message}`)];
}

function start() {
  startTables();
  startFigures();
  startRuns();
  startSamples();
  window.addEventListener("hashchange", route);
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !byId("run").hidden && !document.querySelector(":popover-open")) location.hash = "#runs";
  });
  route();
}

start();
