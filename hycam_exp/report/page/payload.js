// What lies in the page: JSON, deflated and in base64. A run is unpacked when it is first asked for.
const packedData = JSON.parse(byId("data").textContent);
const unpackedRuns = new Map();
let sharedPromise = null;

async function unpack(text) {
  if (typeof DecompressionStream === "undefined") throw new Error("this browser has no DecompressionStream");
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

function shared() {
  sharedPromise ??= unpack(packedData.shared);
  return sharedPromise;
}

const hasRun = (id) => Object.hasOwn(packedData.runs, id);

async function openRun(id) {
  if (!unpackedRuns.has(id)) {
    const [run, { pool }] = await Promise.all([unpack(packedData.runs[id]), shared()]);
    for (const part of ["counts", "data", "code", "versions", "scored", "metrics"]) run[part] = pool[run[part]];
    run.config = Object.fromEntries(Object.entries(run.config).map(([key, number]) => [key, pool[number]]));
    for (const samples of Object.values(run.samples)) {
      for (const sample of samples) sample.splice(0, 1, ...pool[sample[0]]);
    }
    unpackedRuns.set(id, run);
  }
  return unpackedRuns.get(id);
}
