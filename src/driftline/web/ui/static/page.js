// Fetches the page again every few seconds and swaps its <main>, keeping what the reader has open, focused and scrolled
// to; says what a point of a chart means; and sends what a person decides. Without this script the page is complete, it
// only does not move, and decisions are made on the command line.
"use strict";
(() => {
  const live = document.getElementById("live");
  const main = document.getElementById("main");
  const milliseconds = 1000 * Number(document.body.dataset.refreshSeconds);
  const clock = () => new Date().toTimeString().slice(0, 8);
  const spoken = document.getElementById("news");
  let shown = null;
  let tag = "";

  const say = (text, lost) => {
    live.textContent = text;
    if (lost && !live.classList.contains("lost")) spoken.textContent = text;
    live.classList.toggle("lost", lost);
  };

  // What is new since the last time is read aloud; that a minute has passed is not.
  const news = () => [...main.querySelectorAll("[data-news]")].map((one) => one.dataset.news);
  const announce = (before, title) => {
    const fresh = news().filter((one) => !before.has(one));
    if (fresh.length) spoken.textContent = fresh.slice(0, 3).join(". ");
    else if (title !== document.title) spoken.textContent = document.title;
  };

  const swap = (text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = page.getElementById("main");
    if (!fresh) throw new Error("not a page");
    const before = new Map([...main.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
    const scrolled = [...main.querySelectorAll(".scroll[id]")].map((one) => [one.id, one.scrollLeft, one.scrollTop]);
    const focused = main.contains(document.activeElement) ? place(document.activeElement) : null;
    const top = window.scrollY;
    const typed = [...main.querySelectorAll("input[id], textarea[id], select[id]")].filter(changed);
    const told = new Set(news());
    const title = document.title;
    for (const one of fresh.querySelectorAll("details[id]")) if (before.has(one.id)) one.open = before.get(one.id);
    for (const one of typed) {
      const again = fresh.querySelector(`#${CSS.escape(one.id)}`);
      again?.replaceWith(one);
    }
    main.replaceChildren(...fresh.childNodes);
    document.title = page.title;
    for (const [id, left, down] of scrolled) {
      const one = document.getElementById(id);
      if (one) [one.scrollLeft, one.scrollTop] = [left, down];
    }
    if (focused) focused()?.focus({ preventScroll: true });
    window.scrollTo(window.scrollX, top);
    announce(told, title);
  };

  // How to find an element again: by its id, or as the summary of its details.
  const place = (one) => {
    const owner = one.id ? one : one.closest("[id]");
    const path = one === owner ? null : one.tagName.toLowerCase();
    return () => {
      const again = document.getElementById(owner.id);
      return path && again ? again.querySelector(path) : again;
    };
  };

  const selecting = () => {
    const text = String(getSelection());
    if (text) say("Paused while text is selected", false);
    return Boolean(text);
  };

  // A form that somebody fills in, or a span that somebody draws, is not taken away from them; nor is what they are told.
  // Filters act at once.
  const changed = (one) => {
    if (one.type === "hidden" || one.tagName === "BUTTON") return false;
    if (one.options) return one.value !== ([...one.options].find((each) => each.defaultSelected) ?? one.options[0]).value;
    return one.value !== one.defaultValue;
  };
  const busy = () => {
    const filling =
      main.contains(document.activeElement?.closest("form:not([data-auto])") ?? null) ||
      [...main.querySelectorAll("form:not([data-auto]) [name]")].some(changed) ||
      Boolean(main.querySelector("form .problem"));
    if (filling) say("Paused while a form is filled in", false);
    return filling || Boolean(main.querySelector(".brushing"));
  };

  const load = async () => {
    const asked = location.href;
    try {
      const answer = await fetch(asked, { cache: "no-cache", headers: { Accept: "text/html" } });
      if (answer.redirected) return location.assign(answer.url);
      if (!answer.ok && answer.status !== 404) throw new Error(String(answer.status));
      const text = await answer.text();
      if (asked !== location.href || selecting() || busy()) return;
      const same = tag && tag === answer.headers.get("ETag");
      tag = answer.headers.get("ETag") ?? "";
      if (same) return say(`Live · ${clock()}`, false);
      if (text !== shown) swap(text);
      shown = text;
      say(`Live · ${clock()}`, false);
    } catch {
      if (!live.classList.contains("lost")) say(`No answer since ${clock()}: this is what was known then`, true);
    }
  };

  const refresh = async () => {
    if (!selecting() && !busy() && !document.hidden) await load();
    setTimeout(refresh, milliseconds);
  };

  // ---- decisions: a button says where to, the person says why and who ----
  const asking = (what) =>
    new Promise((resolve) => {
      const { caller } = document.body.dataset;
      const dialog = document.createElement("dialog");
      dialog.className = "decision";
      dialog.setAttribute("aria-labelledby", "decision-name");
      const form = document.createElement("form");
      form.method = "dialog";
      const add = (tag, text, more = {}) => {
        const one = Object.assign(document.createElement(tag), more);
        one.textContent = text;
        form.append(one);
        return one;
      };
      const field = (name, words, value) => {
        add("label", words, { htmlFor: `decision-${name}` });
        return add("input", "", { id: `decision-${name}`, required: true, maxLength: name === "by" ? 200 : 1000, value });
      };
      add("h2", what, { id: "decision-name" });
      const why = field("reason", "Why", "");
      const who = caller ? null : field("by", "Who you are", sessionStorage.getItem("by") ?? "");
      add("button", what, { value: "yes" });
      add("button", "Cancel", { value: "no", formNoValidate: true, className: "no" });
      dialog.append(form);
      document.body.append(dialog);
      dialog.addEventListener("close", () => {
        const by = caller ?? who.value.trim();
        const reason = why.value.trim();
        dialog.remove();
        resolve(dialog.returnValue === "yes" && by && reason ? { by, reason } : null);
      });
      dialog.showModal();
    });

  main.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-post]");
    if (!button) return;
    const { caller, csrf } = document.body.dataset;
    const said = await asking(button.textContent);
    if (!said) return;
    if (!caller) sessionStorage.setItem("by", said.by);
    try {
      const headers = { "Content-Type": "application/json", ...(csrf && { "X-CSRF-Token": csrf }) };
      const body = JSON.stringify({ ...JSON.parse(button.dataset.body ?? "{}"), ...said });
      const answer = await fetch(button.dataset.post, { method: "POST", headers, body });
      const told = await answer.json(); // to its end, or a page that is left meanwhile has broken it off
      if (!answer.ok) throw new Error(told.error.message);
      await load();
    } catch (error) {
      say(error.message, true);
    }
  });

  // ---- charts: one stop of the tab key each, arrow keys from window to window, and the words below ----
  const tell = (target) => {
    const hit = target.closest?.(".hit");
    const figure = target.closest?.("figure.chart");
    const readout = figure?.querySelector(".readout");
    if (readout && hit && !figure.classList.contains("brushing")) readout.textContent = hit.getAttribute("aria-label");
  };
  main.addEventListener("pointerover", (event) => tell(event.target));
  main.addEventListener("focusin", (event) => tell(event.target));
  main.addEventListener("keydown", (event) => {
    const hit = event.target.closest?.(".hit");
    if (!hit) return;
    const all = [...hit.parentNode.querySelectorAll(".hit")];
    const at = all.indexOf(hit);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || !all[to]) return;
    event.preventDefault();
    hit.setAttribute("tabindex", "-1");
    all[to].setAttribute("tabindex", "0");
    all[to].focus();
  });

  // ---- filters: what is chosen is shown at once, what is typed with the Enter key or after a pause ----
  let pause = 0;
  const submit = (form) => form && form.requestSubmit();
  main.addEventListener("change", (event) => submit(event.target.closest?.("form[data-auto]")));
  main.addEventListener("input", (event) => {
    if (!event.target.matches?.("form[data-auto] input")) return;
    clearTimeout(pause);
    pause = setTimeout(() => filter(event.target.form), 250);
  });
  main.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-auto]")) return;
    event.preventDefault();
    filter(event.target);
  });
  const filter = async (form) => {
    clearTimeout(pause);
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value)).toString();
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
    tag = "";
    await load();
    spoken.textContent = document.getElementById("found")?.textContent ?? "";
  };

  document.documentElement.classList.add("scripting");
  say(`Live · ${clock()}`, false);
  setTimeout(refresh, milliseconds);
})();
