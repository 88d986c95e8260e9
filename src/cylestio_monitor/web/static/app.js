"use strict";
// The pages are complete without this file. It adds live counts, keys, copying of ids and relative times.

(() => {
  const keysOff = () => localStorage.getItem("cylestio-keys") === "off";

  const relative = (element) => {
    const seconds = Math.round((Date.now() - Number(BigInt(element.dataset.ns) / 1000000n)) / 1000);
    const steps = [[60, "s"], [3600, "min"], [86400, "h"], [Infinity, "d"]];
    const [, unit] = steps.find(([limit]) => seconds < limit);
    const size = { s: 1, min: 60, h: 3600, d: 86400 }[unit];
    element.textContent = seconds < 0 ? element.title : `${Math.floor(seconds / size)} ${unit} ago`;
  };
  const times = document.querySelectorAll("time[data-ns]");
  const refresh = () => times.forEach(relative);
  refresh();
  setInterval(refresh, 15000);

  for (const element of document.querySelectorAll("[data-copy]")) {
    element.hidden = false;
    element.addEventListener("click", () => navigator.clipboard.writeText(element.dataset.copy));
  }

  // Live: the server sends counts and ids. The page says how many rows are new and moves none by itself.
  const live = document.querySelector("[data-live]");
  let source = null;
  const connect = () => {
    source = new EventSource(`/live?after=${encodeURIComponent(document.body.dataset.cursor || "")}`);
    source.addEventListener("open", () => { live.textContent = "Live"; });
    source.addEventListener("error", () => { live.textContent = "Not connected"; });
    source.addEventListener("changes", (event) => {
      const { spans, findings } = JSON.parse(event.data);
      if (!spans && !findings) return;
      live.replaceChildren();
      const link = document.createElement("a");
      link.href = location.pathname + location.search;
      link.textContent = `${findings || spans} new`;
      live.append(link);
    });
  };
  const disconnect = () => { if (source) source.close(); source = null; };
  if (live && window.EventSource) {
    document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
    if (!document.hidden) connect();
  }

  // Keys: never inside a field, and none decides an approval.
  const rows = () => [...document.querySelectorAll("tbody tr, .note, .needs li")];
  let at = -1;
  const move = (step) => {
    const all = rows();
    if (!all.length) return;
    at = Math.min(Math.max(at + step, 0), all.length - 1);
    const link = all[at].querySelector("a");
    if (link) link.focus();
  };
  const pages = { o: "/", f: "/findings", r: "/runs", s: "/sessions", a: "/approvals", t: "/tools", i: "/incidents" };
  let waiting = false;
  document.addEventListener("keydown", (event) => {
    if (keysOff() || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, [contenteditable]")) return;
    if (waiting) {
      waiting = false;
      if (pages[event.key]) location.assign(pages[event.key]);
      return;
    }
    const go = (selector) => { const link = document.querySelector(selector); if (link) link.click(); };
    switch (event.key) {
      case "/": document.querySelector(".search input").focus(); break;
      case "j": move(1); break;
      case "k": move(-1); break;
      case "g": waiting = true; break;
      case "u": { const up = [...document.querySelectorAll(".crumbs a")].pop(); if (up) up.click(); break; }
      case "[": go("a[rel=prev]"); break;
      case "]": go("a[rel=next]"); break;
      case "c": go("[data-tab=conversation]"); break;
      case "t": go("[data-tab=timeline]"); break;
      default: return;
    }
    event.preventDefault();
  });
})();
