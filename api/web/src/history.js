// The view of runs that were.
import { get } from "./api.js";
import { age, h, seconds } from "./dom.js";
import { describe } from "./outcome.js";
import { recall } from "./programs.js";
import { titles } from "./samples.js";

const PAGE = 50;
const LOOK_MS = 3000;

const dull = /^(import |from |#|\/\/|\/\*|use |using |package |require|const .*require\()/;

// The line that tells most of what a program is: the first that brings in nothing.
function tellingLine(code) {
  const lines = (code ?? "").split("\n").map((line) => line.trim()).filter(Boolean);
  return (lines.find((line) => !dull.test(line)) ?? lines[0] ?? "").slice(0, 160);
}

// queued and running have no outcome yet; done has its cause.
function outcome(run) {
  if (run.status !== "done") return { text: run.status === "running" ? "Running" : "Waiting", tone: "busy" };
  return describe({ ...run, status: run.cause });
}

function row(run) {
  const { text, tone } = outcome(run);
  return h("tr", { role: "row", "data-status": run.status },
    h("td", {}, h("span", { class: "badge", "data-tone": tone, title: run.reason ?? "" }, text)),
    h("td", { class: "code" }, h("a", { href: `#/run/${run.id}` }, tellingLine(run.code ?? recall(run.id)?.code) || run.id)),
    h("td", {}, titles[run.language] ?? run.language ?? ""),
    h("td", {}, run.pool ?? ""),
    h("td", { class: "number" }, seconds(run.execution_time)),
    h("td", { class: "number" }, run.accepted ? h("time", { datetime: run.accepted, title: new Date(run.accepted).toLocaleString() }, `${age(run.accepted)} ago`) : ""));
}

export function makeHistoryView() {
  const body = h("tbody", { role: "rowgroup" });
  const note = h("p", { class: "hint", role: "status" }, "Loading…");
  const more = h("button", { type: "button", hidden: true, onclick: () => load() }, "Show older ones");
  const rows = new Map();
  let next = null;

  // What is new comes on top, what has changed in its place.
  function put(run, first) {
    const old = rows.get(run.id);
    if (old && old.dataset.status === "done") return;
    const made = row(run);
    for (const cell of made.children) cell.setAttribute("role", "cell");
    rows.set(run.id, made);
    if (old) old.replaceWith(made);
    else if (first) body.prepend(made);
    else body.append(made);
  }

  async function look() {
    if (document.hidden) return;
    try {
      const page = await get(`/executions?limit=${PAGE}`);
      for (const run of page.items.reverse()) put(run, true);
      if (body.children.length) {
        box.hidden = false;
        note.textContent = "";
      }
    } catch (error) {
      if (error.status !== 401 && error.status !== 404) note.textContent = error.message;
    }
  }

  async function load() {
    more.disabled = true;
    try {
      const page = await get(`/executions?limit=${PAGE}${next ? `&cursor=${encodeURIComponent(next)}` : ""}`);
      for (const run of page.items) put(run, false);
      next = page.next ?? null;
      more.hidden = !next;
      note.textContent = body.children.length ? "" : "Nothing was run yet.";
      box.hidden = !body.children.length;
    } catch (error) {
      note.textContent = error.status === 404 ? "This service keeps no history." : error.message;
    }
    more.disabled = false;
  }

  const table = h("table", { role: "table" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...["Outcome", "Program", "Language", "Pool", "Ran", "When"].map((name) => h("th", { scope: "col", role: "columnheader" }, name)))),
    body);
  const box = h("div", { class: "table-box", hidden: true, tabindex: "0", role: "region", "aria-label": "Runs" }, table);
  const clock = setInterval(look, LOOK_MS);

  load();
  return {
    element: h("section", { class: "page", "aria-labelledby": "history-title" },
      h("div", { class: "page-head" }, h("h1", { id: "history-title" }, "History"), h("p", { class: "hint" }, "Newest first. Open one to replay it.")),
      box,
      note, more),
    close: () => clearInterval(clock),
  };
}
