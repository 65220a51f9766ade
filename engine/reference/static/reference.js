// The search: every word must be in the name, in what is said of it, or in the names inside it. Nothing is fetched.
"use strict";

(() => {
  const MOST = 20;
  const root = document.documentElement.dataset.root;
  const form = document.getElementById("search");
  const box = document.getElementById("sought");
  const found = document.getElementById("found");
  const results = document.getElementById("results");
  const entries = globalThis.callsheetReference.map(([kind, name, path, summary, inside]) => ({
    kind, name, path, summary, inside,
    named: name.toLowerCase(),
    text: [name, name.replace(/[_./]/g, " "), kind, summary, inside].join(" ").toLowerCase(),
  }));

  const rank = (entry, word) => {
    const last = entry.named.slice(entry.named.indexOf("/") + 1);
    if (entry.named === word || last === word) return 0;
    if (entry.named.startsWith(word) || last.startsWith(word)) return 1;
    if (entry.named.includes(word)) return 2;
    return entry.summary.toLowerCase().includes(word) ? 3 : 4;
  };

  const item = (entry) => {
    const line = document.createElement("li");
    const link = document.createElement("a");
    const said = document.createElement("small");
    link.href = root + entry.path;
    link.textContent = entry.name;
    said.textContent = entry.summary ? `${entry.kind}: ${entry.summary}` : entry.kind;
    line.append(link, said);
    return line;
  };

  const show = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fitting = words.length ? entries.filter((entry) => words.every((word) => entry.text.includes(word))) : [];
    const ranked = fitting.map((entry) => [words.reduce((sum, word) => sum + rank(entry, word), 0), entry]);
    ranked.sort(([a, one], [b, other]) => a - b || one.name.length - other.name.length);
    results.replaceChildren(...ranked.slice(0, MOST).map(([, entry]) => item(entry)));
    const more = ranked.length > MOST ? `, the first ${MOST} of them here` : "";
    found.textContent = words.length ? `${ranked.length || "Nothing"} found${more}` : "";
  };

  const step = (by) => {
    const stops = [box, ...results.querySelectorAll("a")];
    const next = stops[stops.indexOf(document.activeElement) + by];
    if (next) next.focus();
  };

  const clear = () => {
    box.value = "";
    show();
    box.focus();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const first = results.querySelector("a");
    if (first) first.click();
  });
  form.addEventListener("keydown", (event) => {
    const act = { ArrowDown: () => step(1), ArrowUp: () => step(-1), Escape: clear }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, textarea, select")) return;
    event.preventDefault();
    box.focus();
  });
  box.addEventListener("input", show);
  form.hidden = false;
  show();
})();
