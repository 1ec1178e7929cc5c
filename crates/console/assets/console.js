// The console's one script. Every page works without it; it spares reloads: copy buttons, dialogs, row menus, live parts.
"use strict";
(() => {
  const live = () => document.getElementById("live");
  const say = (text) => { const box = live(); if (box) { box.textContent = ""; setTimeout(() => { box.textContent = text; }, 50); } };

  // <button data-copy="#id" hidden>: copies an element's text. Hidden until the script is there to do it.
  const wire = (root) => {
    for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
    for (const part of root.querySelectorAll("[data-refresh]")) refresh(part);
    for (const form of root.querySelectorAll("form[data-live]")) liven(form);
    for (const box of root.querySelectorAll("[data-pick-all]")) { box.hidden = false; }
    for (const part of root.querySelectorAll("[data-scripted]")) part.hidden = false;
    for (const part of root.querySelectorAll("[data-unscripted]")) part.hidden = true;
  };

  const copy = async (button) => {
    const from = document.querySelector(button.dataset.copy);
    if (!from) return;
    const text = "value" in from ? from.value : from.textContent;
    const label = button.dataset.label || (button.dataset.label = button.textContent);
    try {
      await navigator.clipboard.writeText(text.trim());
      button.textContent = "Copied";
      say("Copied");
    } catch {
      const range = document.createRange();
      range.selectNodeContents(from);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Press Ctrl+C";
      say("The text is selected; press Ctrl+C");
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  };

  // <div data-refresh="/path" data-every="3">: replaced by what the server sends, until the part says that it is final.
  const refresh = (part) => {
    const every = Number(part.dataset.every || 3) * 1000;
    const again = async () => {
      if (!part.isConnected) return;
      if (!document.hidden) {
        try {
          const answer = await fetch(part.dataset.refresh, { headers: { accept: "text/html" }, redirect: "error" });
          if (!answer.ok) return;
          const text = await answer.text();
          if (part.dataset.shown !== text) {
            part.innerHTML = text;
            part.dataset.shown = text;
            const told = part.querySelector("[data-say]");
            if (told) say(told.textContent);
          }
          if (part.querySelector("[data-final]")) return;
        } catch { /* asked again */ }
      }
      setTimeout(again, every);
    };
    setTimeout(again, every);
  };

  // <form data-live="/path" data-target="#id" data-live-skip="names">: what the form would do, told while it is filled in.
  const liven = (form) => {
    let timer = 0, count = 0;
    const tell = async () => {
      const mine = ++count;
      const query = new URLSearchParams();
      const skipped = ["csrf", ...(form.dataset.liveSkip || "").split(" ")];
      for (const [name, value] of new FormData(form)) if (!skipped.includes(name) && typeof value === "string") query.append(name, value);
      try {
        const answer = await fetch(`${form.dataset.live}?${query}`, { headers: { accept: "text/html" }, redirect: "error" });
        const target = document.querySelector(form.dataset.target);
        if (answer.ok && target && mine === count) target.innerHTML = await answer.text();
      } catch { /* the next change asks again */ }
    };
    const soon = () => { clearTimeout(timer); timer = setTimeout(tell, 150); };
    form.addEventListener("input", soon);
    form.addEventListener("change", soon);
  };

  // <a data-dialog href="/page">: the page's .dialog, in a dialog over this page. Without an answer the link is followed.
  const openDialog = async (link) => {
    let part;
    try {
      const answer = await fetch(link.href, { headers: { accept: "text/html" }, redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      part = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main .dialog");
    } catch { part = null; }
    if (!part || typeof HTMLDialogElement === "undefined") { location.assign(link.href); return; }
    const dialog = document.createElement("dialog");
    const title = part.querySelector("h1");
    if (title) { title.id = title.id || "dialog-title"; dialog.setAttribute("aria-labelledby", title.id); }
    dialog.append(document.importNode(part, true));
    document.body.append(dialog);
    dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
    dialog.addEventListener("click", (event) => {
      if (event.target.closest("[data-close]")) { event.preventDefault(); dialog.close(); }
    });
    dialog.showModal();
    wire(dialog);
    const first = dialog.querySelector("[autofocus]") || dialog.querySelector("input:not([type=hidden]), select, textarea") || dialog.querySelector("a, button:not([tabindex])");
    if (first) first.focus();
  };

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    const button = target.closest("[data-copy]");
    if (button) { event.preventDefault(); copy(button); return; }
    const link = target.closest("a[data-dialog]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) { event.preventDefault(); openDialog(link); return; }
    for (const menu of document.querySelectorAll("details.row-menu[open]")) if (!menu.contains(target)) menu.open = false;
  });

  document.addEventListener("keydown", (event) => {
    const menu = document.activeElement && document.activeElement.closest("details.row-menu[open]");
    if (!menu) return;
    const items = [...menu.querySelectorAll("a, button")];
    const at = items.indexOf(document.activeElement);
    if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); event.preventDefault(); }
    if (event.key === "ArrowDown") { (items[at + 1] || items[0]).focus(); event.preventDefault(); }
    if (event.key === "ArrowUp") { (items[at - 1] || items[items.length - 1]).focus(); event.preventDefault(); }
  });

  document.addEventListener("change", (event) => {
    const box = event.target instanceof Element ? event.target.closest("[data-pick-all]") : null;
    if (box) for (const other of document.querySelectorAll(`input[type=checkbox][name="${box.dataset.pickAll}"]`)) other.checked = box.checked;
    // <select data-submit>: a filter that is applied as soon as it is chosen.
    const select = event.target instanceof Element ? event.target.closest("[data-submit]") : null;
    if (select && select.form) select.form.requestSubmit();
  });

  // <input type=radio data-preset-level data-preset-scopes>: an environment proposes; what somebody chose themselves stays.
  document.addEventListener("change", (event) => {
    const input = event.target instanceof HTMLInputElement ? event.target : null;
    if (!input || !input.form) return;
    const form = input.form, touched = (form.dataset.touched || "").split(" ");
    if (input.name === "level" || input.name === "scope") form.dataset.touched = [...touched, input.name].join(" ");
    if (input.dataset.presetLevel === undefined) return;
    const scopes = (input.dataset.presetScopes || "").split(" ");
    if (!touched.includes("scope")) for (const box of form.querySelectorAll("input[name=scope]")) box.checked = scopes.includes(box.value);
    if (!touched.includes("level")) for (const level of form.querySelectorAll("input[name=level]")) level.checked = level.value === input.dataset.presetLevel;
  });

  document.addEventListener("click", (event) => {
    const print = event.target instanceof Element ? event.target.closest("[data-print]") : null;
    if (print) window.print();
  });

  // On a narrow screen the entries are one row that scrolls: the one that is open is shown.
  const here = document.querySelector(".entries [aria-current]");
  const showHere = () => {
    const row = here.parentElement, [inner, outer] = [here.getBoundingClientRect(), row.getBoundingClientRect()];
    if (inner.left < outer.left || inner.right > outer.right - 28) row.scrollLeft += inner.left - outer.left - 44;
  };
  if (here) { showHere(); addEventListener("resize", showHere); }

  wire(document);
})();
