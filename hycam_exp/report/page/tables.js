// Sorting by a column, and filtering of the tables by row and by group of columns.
const ORDERS = ["ascending", "descending", "none"];

function makeSortable(table) {
  [...table.tBodies].forEach((body) => [...body.rows].forEach((row, place) => { row.dataset.place = place; }));
  for (const heading of table.tHead.querySelectorAll("th[data-column]")) {
    const button = html("button", { type: "button", on: { click: () => sortBy(table, heading) } });
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
  }
}

function sortBy(table, heading) {
  const order = ORDERS[(ORDERS.indexOf(heading.getAttribute("aria-sort")) + 1) % ORDERS.length];
  for (const other of table.tHead.querySelectorAll("th[data-column]")) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", order);
  for (const body of table.tBodies) sortBody(body, Number(heading.dataset.column), order);
  const name = heading.textContent.trim();
  announce(order === "none" ? "In the first order" : `Sorted by ${name}, ${order}`);
}

// The rows as the sorted heading asks for, after their values have changed.
function sortAgain(table) {
  const heading = table.tHead.querySelector("[aria-sort=ascending], [aria-sort=descending]");
  if (heading) for (const body of table.tBodies) sortBody(body, Number(heading.dataset.column), heading.getAttribute("aria-sort"));
}

function sortBody(body, column, order) {
  const rows = [...body.rows].filter((row) => !row.classList.contains("section"));
  const sign = order === "descending" ? -1 : 1;
  rows.sort((a, b) => {
    const places = a.dataset.place - b.dataset.place;
    return order === "none" ? places : compare(sortKey(a.cells[column]), sortKey(b.cells[column]), sign) || places;
  });
  body.append(...rows);
}

// A number, a text, or null for what is absent, which stands last in either order.
function sortKey(cell) {
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  if (cell.classList.contains("number")) return null;
  return cell.textContent.trim();
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

function filterTables() {
  const words = byId("table-rows").value.trim().toLowerCase();
  const group = byId("table-groups").value;
  let shownTables = 0;
  for (const section of document.querySelectorAll(".table-section")) {
    const tables = [...section.querySelectorAll("table")];
    const shown = tables.map((table) => filterTable(table, words, group));
    section.hidden = !shown.includes(true);
    shownTables += !section.hidden;
  }
  byId("no-tables").hidden = shownTables > 0;
  announce(`${shownTables} tables shown`);
}

// Whether anything is left of it.
function filterTable(table, words, group) {
  const groups = new Set([...table.querySelectorAll("[data-group]")].map((cell) => cell.dataset.group));
  const hasGroup = group === "" || groups.has(group);
  const bySection = [...table.tBodies].some((body) => body.dataset.group !== "");
  let left = 0;
  for (const body of table.tBodies) {
    body.hidden = bySection && group !== "" && body.dataset.group !== group;
    for (const row of body.querySelectorAll("tr:not(.section)")) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(words);
      left += !row.hidden && !body.hidden;
    }
  }
  if (!bySection) {
    for (const cell of table.querySelectorAll("th[data-group], td[data-group]")) {
      cell.hidden = group !== "" && cell.dataset.group !== group;
    }
  }
  return hasGroup && left > 0;
}

function startTables() {
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  const headings = document.querySelectorAll("#tables th.group:not([data-group='']), #tables tbody:not([data-group=''])");
  const compared = new Set([...document.querySelectorAll("[id$='_compared-table'] th.group")].map((th) => th.dataset.group));
  const groups = new Set([...headings].map((heading) => heading.dataset.group).filter((name) => !compared.has(name)));
  for (const name of groups) byId("table-groups").append(html("option", { value: name }, name));
  byId("table-rows").addEventListener("input", filterTables);
  byId("table-groups").addEventListener("change", filterTables);
  byId("table-filters").hidden = false;
}
