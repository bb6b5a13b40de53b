// Puts a slider beside the threshold, and asks for the same page as it moves: the server says what would have fired.
"use strict";
(() => {
  const main = document.getElementById("main");
  const WAIT = 200; // milliseconds without a move
  let timer = 0;
  let asked = 0;

  const address = (form) => {
    const at = new URL(location.href);
    at.search = new URLSearchParams(new FormData(form)).toString();
    at.hash = "";
    return at;
  };

  const ask = async (form) => {
    const at = address(form);
    const mine = ++asked;
    document.getElementById("tried").classList.add("waiting");
    try {
      const answer = await fetch(at, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("tried");
      if (mine !== asked || !fresh) return;
      document.getElementById("tried").replaceWith(fresh);
      history.replaceState(null, "", at);
      copying();
    } catch {
      document.getElementById("tried").classList.remove("waiting");
    }
  };

  const later = (form) => {
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT, form);
  };

  // ---- the slider, where the page has none yet: it comes anew with every refresh ----
  const sliding = () => {
    const slide = main.querySelector(".slide");
    if (!slide || slide.querySelector("input[type='range']")) return;
    const number = slide.querySelector("input");
    const range = document.createElement("input");
    Object.assign(range, { type: "range", min: slide.dataset.low, max: slide.dataset.high, step: slide.dataset.step });
    range.setAttribute("aria-label", `Slide: ${document.querySelector("label[for='try-threshold']").textContent}`);
    range.value = range.defaultValue = number.value;
    slide.prepend(range);
  };

  const copying = () => {
    const text = document.getElementById("rule-text");
    if (!text || !navigator.clipboard || text.closest("#tried").querySelector(".copy")) return;
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "copy", textContent: "Copy" });
    text.parentElement.after(button);
  };

  main.addEventListener("input", (event) => {
    const form = event.target.closest("#try-form");
    if (!form || event.target.name === "rule") return;
    const number = form.querySelector("#try-threshold");
    const range = form.querySelector("input[type='range']");
    if (event.target === range) number.value = range.value;
    else if (event.target === number && range) range.value = number.value;
    if (form.checkValidity()) later(form);
  });

  // Another rule has other ends of the slider: the whole page is asked for.
  main.addEventListener("change", (event) => {
    if (event.target.id !== "try-rule") return;
    const at = new URL(location.href);
    at.search = new URLSearchParams({ rule: event.target.value }).toString();
    location.assign(at);
  });

  main.addEventListener("submit", (event) => {
    if (event.target.id !== "try-form") return;
    event.preventDefault();
    ask(event.target);
  });

  main.addEventListener("click", async (event) => {
    if (!event.target.classList.contains("copy")) return;
    await navigator.clipboard.writeText(document.getElementById("rule-text").textContent);
    event.target.textContent = "Copied";
  });

  const ready = () => {
    sliding();
    copying();
  };
  ready();
  new MutationObserver(ready).observe(main, { childList: true });
})();
