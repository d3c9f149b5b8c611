// Every picture as wide as its column, or in full size on demand.
function startFigures() {
  for (const figure of document.querySelectorAll(".figures > figure")) {
    const name = html("span", { class: "visually-hidden" }, `: ${figure.querySelector("strong").textContent}`);
    const button = html("button", { type: "button", class: "plain", "aria-pressed": "false" }, "Full size", name);
    button.addEventListener("click", () => enlarge(figure, button));
    figure.querySelector("figcaption").prepend(button);
  }
  packFigures();
}

function enlarge(figure, button) {
  const full = figure.classList.toggle("full");
  button.setAttribute("aria-pressed", String(full));
  const picture = figure.querySelector(".picture");
  if (full) {
    picture.tabIndex = 0; // scrolled by the keyboard
    picture.setAttribute("role", "region");
    picture.setAttribute("aria-label", figure.querySelector("strong").textContent);
  } else for (const name of ["tabindex", "role", "aria-label"]) picture.removeAttribute(name);
  figure.scrollIntoView({ block: "nearest" });
}

// Figures of unequal height in columns without holes: each takes as many thin lines of the grid as it is high.
const LINE = 8; // pixels, as in the style

function packFigures() {
  const box = document.querySelector(".figures");
  if (!box || typeof ResizeObserver === "undefined") return;
  box.classList.add("packed");
  const gap = parseFloat(getComputedStyle(box).columnGap) || 0;
  const fit = (figure) => {
    figure.style.gridRowEnd = `span ${Math.ceil((figure.offsetHeight + gap) / LINE)}`;
  };
  const observer = new ResizeObserver((entries) => entries.forEach((entry) => fit(entry.target)));
  for (const figure of box.children) {
    fit(figure);
    observer.observe(figure);
  }
}
