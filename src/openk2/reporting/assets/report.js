// The hover readout. A path's numbers are the data's own (log10 of them on a log axis), so the
// values come off the drawing itself and the page carries them once.
"use strict";

function pointsOf(path) {
  const numbers = path.getAttribute("d").match(/-?[\d.]+(?:e[-+]?\d+)?/g).map(Number);
  return Array.from({ length: numbers.length / 2 }, (_, i) => [numbers[2 * i], numbers[2 * i + 1]]);
}

function nearest(points, x) {
  let low = 0, high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= x) low = middle; else high = middle;
  }
  return x - points[low][0] <= points[high][0] - x ? points[low] : points[high];
}

function text(value) {
  const size = Math.abs(value);
  if (size !== 0 && size < 1e-2) return value.toExponential(2);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(4);
}

function add(parent, name, className) {
  const child = document.createElementNS(parent.namespaceURI, name);
  child.setAttribute("class", className);
  return parent.appendChild(child);
}

function attach(plot) {
  const right = Number(plot.dataset.right);
  const valueOf = plot.dataset.log === "1" ? (y) => 10 ** y : (y) => y;
  const cursor = add(plot.querySelector("svg"), "line", "cursor");
  cursor.setAttribute("y2", "100%");
  const readout = add(plot, "div", "readout");
  let curves = null;

  function hide() {
    readout.style.display = cursor.style.display = "none";
  }

  function show(event) {
    curves ??= [...plot.querySelectorAll("path[data-label]")].map((path) => [path, pointsOf(path)]);
    const box = plot.getBoundingClientRect();
    const x = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * right;
    const step = nearest(curves[0][1], x)[0];
    readout.replaceChildren();
    add(readout, "b", "").textContent = `step ${step.toLocaleString("en")}`;
    for (const [path, points] of curves) {
      const [at, y] = nearest(points, x);
      const row = add(readout, "div", "");
      add(row, "i", path.getAttribute("class")).style.color = path.style.color;
      // A validation has a step of its own.
      const where = Math.abs(at - step) > right / 100 ? ` (step ${at.toLocaleString("en")})` : "";
      row.append(`${path.dataset.label}: ${text(valueOf(y))}${where}`);
    }
    const place = (100 * step) / right;
    for (const name of ["x1", "x2"]) cursor.setAttribute(name, `${place}%`);
    readout.style.left = place < 50 ? `calc(${place}% + 12px)` : "auto";
    readout.style.right = place < 50 ? "auto" : `calc(${100 - place}% + 12px)`;
    readout.style.display = cursor.style.display = "";
  }

  hide();
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", hide);
}

const plots = document.querySelectorAll(".plot");
plots.forEach(attach);
document.documentElement.dataset.charts = plots.length;
