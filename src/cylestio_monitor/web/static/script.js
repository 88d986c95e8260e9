// Keys, relative times and live counts. Every page works without this file.
"use strict";
(() => {
  const root = document.documentElement;
  root.dataset.script = "";
  const keysName = "cylestio-keys";
  const dialog = document.querySelector("dialog.keys");
  const keysOn = () => localStorage.getItem(keysName) !== "off";

  // Relative times
  const units = [[86400, "days"], [3600, "h"], [60, "min"]];
  function ago(seconds) {
    const distance = Math.abs(seconds);
    const unit = units.find(([size]) => distance >= 2 * size);
    const text = unit ? `${Math.floor(distance / unit[0])} ${unit[1]}` : `${Math.floor(distance)} s`;
    return seconds >= 0 ? `${text} ago` : `in ${text}`;
  }
  function refreshTimes() {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time[data-ago]")) {
      const begin = Date.parse(element.dateTime);
      if (!Number.isNaN(begin)) element.textContent = ago((Date.now() - begin) / 1000);
    }
  }
  setInterval(refreshTimes, 15000);

  // Copy
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    });
  }

  // Rows and findings, one after the other
  function move(step) {
    const stops = [...document.querySelectorAll("[data-row] a:first-of-type, [data-stop]")]
      .filter((element, index, all) => {
        const row = element.closest("[data-row]");
        return element.offsetParent !== null && (!row || all.findIndex((one) => one.closest("[data-row]") === row) === index);
      });
    if (!stops.length) return;
    const at = stops.findIndex((element) => element === document.activeElement || element.closest("[data-row]")?.contains(document.activeElement));
    const next = stops[Math.min(stops.length - 1, Math.max(0, at + step))];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }
  function open(selector) {
    const link = document.querySelector(selector);
    if (link) link.click();
    return Boolean(link);
  }

  // Keys: none inside fields, none with a modifier, none that decides anything
  let isGo = false;
  const actions = {
    "/": () => { const field = document.querySelector(".search input"); if (field && field.offsetParent) field.focus(); },
    "?": () => dialog.showModal(),
    "j": () => move(1),
    "k": () => move(-1),
    "u": () => open(".crumbs li:nth-last-child(2) a"),
    "[": () => open('a[rel="prev"]'),
    "]": () => open('a[rel="next"]'),
    "c": () => open('a[data-tab="conversation"]'),
    "t": () => open('a[data-tab="timeline"]'),
    "e": () => { const details = document.activeElement.closest("details") || document.querySelector("main details"); if (details) details.open = !details.open; },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("input, select, textarea, dialog[open]") || !keysOn()) return;
    if (isGo) {
      isGo = false;
      if (/^[a-z]$/.test(event.key) && open(`.nav a[data-key="${event.key}"]`)) event.preventDefault();
    } else if (event.key === "g") {
      isGo = true;
      setTimeout(() => { isGo = false; }, 1500);
    } else if (actions[event.key]) {
      event.preventDefault();
      actions[event.key]();
    }
  });
  if (dialog) {
    const choice = dialog.querySelector("[data-keys-on]");
    choice.checked = keysOn();
    choice.addEventListener("change", () => localStorage.setItem(keysName, choice.checked ? "on" : "off"));
    document.querySelector("[data-show-keys]").addEventListener("click", () => dialog.showModal());
  }

  // Live counts: a page says that there is more, and moves no row by itself
  const live = document.querySelector("[data-live]");
  if (live && "EventSource" in window) {
    let source = null;
    const connect = () => {
      if (source || document.hidden) return;
      source = new EventSource(`/live?after=${encodeURIComponent(live.dataset.live)}`);
      source.onopen = () => { live.dataset.state = "on"; if (!live.dataset.more) live.textContent = "Live"; };
      source.onerror = () => { live.dataset.state = "off"; live.textContent = "Not live"; };
      source.addEventListener("change", (event) => {
        const { spans, findings } = JSON.parse(event.data);
        if (!spans && !findings) return;
        const link = document.createElement("a");
        link.href = location.pathname + location.search;
        link.textContent = `${spans} new ${spans === 1 ? "call" : "calls"}, ${findings} new ${findings === 1 ? "finding" : "findings"}`;
        live.dataset.more = "1";
        live.replaceChildren(link);
      });
    };
    document.addEventListener("visibilitychange", () => {
      if (document.hidden && source) { source.close(); source = null; } else connect();
    });
    connect();
  }
})();
