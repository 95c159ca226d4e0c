// The console works without this script. With it, lists update, times show the local time, and setup windows count down.
"use strict";

(() => {
  const EVERY_MS = 5000;
  const live = () => [...document.querySelectorAll("[data-live]")];
  const state = document.querySelector(".live-state");
  const words = document.querySelector(".live-words");
  const alert = document.querySelector(".live-alert");
  const pauseButton = document.querySelector(".live-pause");
  const HOLD_MS = 60000;
  const canHover = matchMedia("(hover: hover)");
  let isPaused = false;
  let isLost = false;
  let known = ""; // the ETag of the page that is shown
  let usedAt = Date.now(); // the last movement of the pointer or the last key

  // Local time on hover.
  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  function showLocal(event) {
    const time = event.target.closest ? event.target.closest("time[datetime]") : null;
    if (time) time.title = local.format(new Date(time.dateTime));
  }
  document.addEventListener("pointerover", showLocal);

  // Countdowns.
  function count() {
    for (const time of document.querySelectorAll("time.countdown")) {
      const left = Math.max(0, Math.round((new Date(time.dateTime) - Date.now()) / 1000));
      const text = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
      if (time.textContent !== text) time.textContent = text;
    }
  }
  if (document.querySelector("time.countdown") || live().length) { count(); setInterval(count, 1000); }

  // Turn a part of the page into its newer version, node by node. Unchanged nodes are not touched, so that focus, selection,
  // open details and scroll positions stay. A row with a ticked box stays even if it is not on the page any more.
  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset.key || node.id || null : null);

  function alike(one, other) {
    return one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
  }

  function changeAttributes(old, fresh) {
    for (const { name, value } of [...fresh.attributes]) {
      if (name === "open" && old.nodeName === "DETAILS") continue;
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      const isOwn = (name === "open" && old.nodeName === "DETAILS") || (name === "title" && old.nodeName === "TIME");
      if (!isOwn && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
  }

  function change(old, fresh) {
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE || old.isEqualNode(fresh)) return;
    changeAttributes(old, fresh);
    const keyed = new Map([...old.childNodes].filter(keyOf).map((child) => [keyOf(child), child]));
    const wantedKeys = new Set([...fresh.childNodes].map(keyOf));
    for (const [key, child] of keyed) if (!wantedKeys.has(key) && !child.querySelector("input:checked")) child.remove();
    let next = old.firstChild;
    const skipTicked = () => {
      while (next && keyOf(next) && !wantedKeys.has(keyOf(next))) next = next.nextSibling;
      return next;
    };
    for (const wanted of [...fresh.childNodes]) {
      skipTicked();
      const key = keyOf(wanted);
      const known = key ? keyed.get(key) : next && !keyOf(next) ? next : null;
      if (known && alike(known, wanted)) {
        if (known === next) next = next.nextSibling;
        else old.insertBefore(known, next);
        change(known, wanted);
      } else {
        const added = document.importNode(wanted, true);
        if (key && added.nodeName === "TR") added.classList.add("is-new");
        old.insertBefore(added, next);
      }
    }
    while (skipTicked()) {
      const extra = next;
      next = next.nextSibling;
      extra.remove();
    }
  }

  // Keep the first visible row at its position when rows are added above it.
  function keepScrollPosition(work) {
    const seen = scrollY > 0
      ? [...document.querySelectorAll("[data-live] [data-key]")].find((node) => node.getBoundingClientRect().bottom > 0)
      : null;
    const before = seen ? seen.getBoundingClientRect().top : 0;
    work();
    if (seen && seen.isConnected) scrollBy(0, seen.getBoundingClientRect().top - before);
  }

  function isReading() {
    const selection = getSelection();
    return !selection.isCollapsed && live().some((region) => selection.containsNode(region, true));
  }

  // A list waits while the pointer is over one of its rows or something in a row has focus, so that nothing moves away from under
  // a click; not for longer than a minute after the last movement or key.
  function isHeld() {
    if (Date.now() - usedAt > HOLD_MS) return false;
    const focused = document.activeElement && document.activeElement.closest("[data-live] [data-key]");
    return Boolean(focused) || (canHover.matches && Boolean(document.querySelector("[data-live] [data-key]:hover")));
  }

  const mayUpdate = () => !document.hidden && !isPaused && !isReading() && !isHeld();

  function showWords() {
    words.textContent = isPaused ? "Paused" : isLost ? "Connection lost" : isReading() || isHeld() ? "Waiting" : "Live";
    state.classList.toggle("is-lost", isLost || isPaused);
  }

  function showState(text, link) {
    isLost = Boolean(text);
    showWords();
    if (alert.dataset.text === (text || "")) return;
    alert.dataset.text = text || "";
    alert.textContent = text || "";
    if (link) {
      const anchor = document.createElement("a");
      anchor.href = link;
      anchor.textContent = "Sign in";
      alert.append(" ", anchor);
    }
  }

  async function update() {
    showWords();
    if (!mayUpdate()) return;
    let response;
    try {
      const headers = known ? { "If-None-Match": known } : {};
      response = await fetch(location.href, { cache: "no-store", headers, signal: AbortSignal.timeout(15000) });
    } catch {
      showState("The service cannot be reached. Showing the last known data. Retrying …");
      return;
    }
    if (response.redirected) {
      showState("Your session has ended. Sign in to continue.", response.url);
      return;
    }
    if (response.status === 304) {
      showState("");
      return;
    }
    if (!response.ok) {
      showState(`The service responded ${response.status}. Showing the last known data. Retrying …`);
      return;
    }
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (!mayUpdate()) return;
    known = response.headers.get("ETag") || "";
    keepScrollPosition(() => {
      for (const region of live()) {
        const wanted = fresh.getElementById(region.id);
        if (wanted) change(region, wanted);
      }
    });
    count();
    showState("");
  }

  async function repeat() {
    await update();
    setTimeout(repeat, EVERY_MS);
  }
  if (live().length && !new URLSearchParams(location.search).has("cursor")) {
    state.hidden = false;
    for (const name of ["pointermove", "keydown"]) document.addEventListener(name, () => { usedAt = Date.now(); }, { passive: true });
    for (const name of ["pointerover", "focusin", "focusout"]) document.addEventListener(name, () => setTimeout(showWords));
    pauseButton.addEventListener("click", () => {
      isPaused = !isPaused;
      pauseButton.textContent = isPaused ? "Resume" : "Pause";
      showWords();
      update();
    });
    setTimeout(repeat, EVERY_MS);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) update(); });
  }

  // Buttons that copy the text before them. Without permission for the clipboard, the text is selected instead.
  document.documentElement.classList.add("has-script");
  document.addEventListener("click", async (event) => {
    const button = event.target.closest ? event.target.closest("button.copy") : null;
    if (!button) return;
    const source = button.previousElementSibling;
    let words = "Copied";
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      getSelection().selectAllChildren(source);
      words = "Selected";
    }
    button.textContent = words;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
    document.querySelector(".copy-state").textContent = words === "Copied" ? words : "The text is selected. Press Ctrl+C to copy it.";
  });

  // A button that switches to the time zone of the browser.
  const zoneForm = document.querySelector("form.zone");
  const mine = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zoneForm && mine && mine !== zoneForm.dataset.zone) {
    const button = zoneForm.querySelector("button");
    button.value = mine;
    button.title = mine;
    button.hidden = false;
  }

  // "/" focuses the search for everything, as aria-keyshortcuts says.
  document.addEventListener("keydown", (event) => {
    const field = document.getElementById("search");
    const isTyping = event.target.closest("input, select, textarea, [contenteditable]");
    if (event.key === "/" && field && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  });
})();
