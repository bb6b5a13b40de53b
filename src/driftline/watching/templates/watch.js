"use strict";
// Ask for the page again and put in what changed; what is open stays open, and the focus where it was.
(() => {
  const live = document.getElementById("live");
  const every = Number(document.body.dataset.refresh) * 1000;
  let tag = null;
  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch("/", { headers: tag ? { Accept: "text/html", "If-None-Match": tag } : { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok && answer.status !== 304) throw new Error(answer.status);
      live.textContent = "";
      live.classList.remove("lost");
      if (answer.status === 304) return;
      tag = answer.headers.get("ETag");
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (document.body.dataset.refresh !== next.body.dataset.refresh) return location.reload();
      const open = [...document.querySelectorAll("details[open]")].map((one) => one.id);
      const focused = document.activeElement && document.activeElement.id;
      for (const part of ["main", "footer"]) {
        const there = document.querySelector(part), came = next.querySelector(part);
        if (there.innerHTML !== came.innerHTML) there.replaceChildren(...came.childNodes);
      }
      document.title = next.title;
      for (const id of open) { const one = document.getElementById(id); if (one) one.open = true; }
      const again = focused && document.getElementById(focused);
      if (again && again !== document.activeElement) again.focus({ preventScroll: true });
    } catch {
      if (!live.classList.contains("lost")) live.textContent = "No answer: is driftline watch still running?";
      live.classList.add("lost");
    }
  };
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
    const next = step && event.target.matches(".hit") && event.target[step];
    if (next && next.matches(".hit")) { event.preventDefault(); next.focus(); }
  });
  setInterval(refresh, every);
  document.addEventListener("visibilitychange", refresh);
})();
