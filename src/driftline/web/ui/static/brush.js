// Choose a span of windows on a chart: drag over them, or hold shift with the arrow keys and press enter. The page is then
// that of the span, with `start` and `end` in its address, as the form above the charts asks for them.
"use strict";
(() => {
  const main = document.getElementById("main");
  const space = "http://www.w3.org/2000/svg";
  let brush = null; // the chart, its windows, and the places of the first and the last that are chosen

  const hitsOf = (figure) => [...figure.querySelectorAll(".plot > .hit")];
  const boxOf = (hit) => hit.querySelector(".box").getBoundingClientRect();

  const placeAt = (hits, x) => {
    let nearest = 0;
    for (const [at, hit] of hits.entries()) if (boxOf(hit).left <= x) nearest = at;
    return nearest;
  };

  const ends = () => [Math.min(brush.from, brush.to), Math.max(brush.from, brush.to)];
  const startOf = (hit) => new Date(1000 * Number(hit.id.slice(hit.id.lastIndexOf("-") + 1)));

  const clear = () => {
    brush?.mark.remove();
    brush?.figure.classList.remove("brushing");
    brush = null;
  };

  const begin = (figure, at) => {
    clear();
    const mark = document.createElementNS(space, "rect");
    mark.setAttribute("class", "brush");
    figure.querySelector(".plot").append(mark);
    figure.classList.add("brushing"); // the page is not fetched again meanwhile
    brush = { figure, mark, hits: hitsOf(figure), from: at, to: at };
  };

  const draw = () => {
    const [first, last] = ends();
    const plot = brush.figure.querySelector(".plot").getBoundingClientRect();
    const left = boxOf(brush.hits[first]).left;
    const right = boxOf(brush.hits[last]).right;
    brush.mark.setAttribute("x", String(left - plot.left));
    brush.mark.setAttribute("width", String(right - left));
    brush.mark.setAttribute("y", "0");
    brush.mark.setAttribute("height", String(plot.height));
    const names = [first, last].map((at) => brush.hits[at].getAttribute("aria-label").split(" · ")[0]);
    const readout = brush.figure.querySelector(".readout");
    readout.textContent = `${last - first + 1} windows, ${names[0]} to ${names[1]}: press enter to see only them`;
  };

  const go = () => {
    const [first, last] = ends();
    const after = brush.hits[last + 1];
    const address = new URL(location.href);
    address.hash = "";
    for (const name of ["windows", "alert"]) address.searchParams.delete(name);
    address.searchParams.set("start", startOf(brush.hits[first]).toISOString());
    address.searchParams.set("end", after ? startOf(after).toISOString() : brush.figure.dataset.to);
    clear();
    location.assign(address);
  };

  const figureOf = (target) => target.closest?.(".plot") && target.closest("figure.chart[data-from]");

  main.addEventListener("pointerdown", (event) => {
    const figure = event.button === 0 && event.pointerType !== "touch" && figureOf(event.target);
    if (!figure) return;
    event.preventDefault(); // no text is selected
    begin(figure, placeAt(hitsOf(figure), event.clientX));
  });
  addEventListener("pointermove", (event) => {
    if (!brush || !event.buttons) return;
    const to = placeAt(brush.hits, event.clientX);
    if (to === brush.to) return;
    brush.to = to;
    draw();
  });
  addEventListener("pointerup", () => {
    if (!brush || brush.keyed) return;
    if (brush.from === brush.to) {
      brush.hits[brush.to].focus();
      clear();
    } else go();
  });

  // Before the script of the page, which moves from window to window without shift.
  main.addEventListener(
    "keydown",
    (event) => {
      const hit = event.target.closest?.(".plot > .hit");
      const figure = hit && figureOf(hit);
      if (!figure) return;
      if (event.key === "Shift") return;
      if (event.key === "Escape") return clear();
      if (event.key === "Enter" && brush) return go();
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || !event.shiftKey) return clear();
      event.preventDefault();
      event.stopImmediatePropagation();
      if (brush?.figure !== figure) begin(figure, hitsOf(figure).indexOf(hit));
      brush.keyed = true;
      brush.to = Math.max(0, Math.min(brush.hits.length - 1, brush.to + step));
      const chosen = brush.hits[brush.to];
      hit.setAttribute("tabindex", "-1");
      chosen.setAttribute("tabindex", "0");
      chosen.focus();
      draw();
    },
    true,
  );
})();
