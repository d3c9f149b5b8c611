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
