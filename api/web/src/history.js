// The view of runs that were.
import { get } from "./api.js";
import { age, h, seconds } from "./dom.js";
import { describe } from "./outcome.js";
import { recall } from "./programs.js";
import { titles } from "./samples.js";

const PAGE = 50;

const firstLine = (code) => (code ?? "").split("\n").find((line) => line.trim())?.trim().slice(0, 120) ?? "";

// queued and running have no outcome yet; done has its cause.
function outcome(run) {
  if (run.status !== "done") return { text: run.status === "running" ? "Running" : "Waiting", tone: "busy" };
  return describe({ ...run, status: run.cause });
}

function row(run) {
  const { text, tone } = outcome(run);
  return h("tr", {},
    h("td", {}, h("span", { class: "badge", "data-tone": tone, title: run.reason ?? "" }, text)),
    h("td", { class: "code" }, h("a", { href: `#/run/${run.id}` }, firstLine(run.code ?? recall(run.id)?.code) || run.id)),
    h("td", {}, titles[run.language] ?? run.language ?? ""),
    h("td", {}, run.pool ?? ""),
    h("td", { class: "number" }, seconds(run.execution_time)),
    h("td", { class: "number" }, run.accepted ? h("time", { datetime: run.accepted, title: new Date(run.accepted).toLocaleString() }, `${age(run.accepted)} ago`) : ""));
}

export function makeHistoryView() {
  const body = h("tbody", {});
  const note = h("p", { class: "hint", role: "status" }, "Loading…");
  const more = h("button", { type: "button", hidden: true, onclick: () => load() }, "Show older ones");
  let next = null;

  async function load() {
    more.disabled = true;
    try {
      const page = await get(`/executions?limit=${PAGE}${next ? `&cursor=${encodeURIComponent(next)}` : ""}`);
      body.append(...page.items.map(row));
      next = page.next ?? null;
      more.hidden = !next;
      note.textContent = body.children.length ? "" : "Nothing was run yet.";
    } catch (error) {
      note.textContent = error.status === 404 ? "This service keeps no history." : error.message;
    }
    more.disabled = false;
  }

  load();
  return {
    element: h("section", { class: "page", "aria-labelledby": "history-title" },
      h("div", { class: "page-head" }, h("h1", { id: "history-title" }, "History"), h("p", { class: "hint" }, "Newest first. Open one to replay it.")),
      h("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": "Runs" },
        h("table", {},
          h("thead", {}, h("tr", {}, ...["Outcome", "Program", "Language", "Pool", "Ran", "When"].map((name) => h("th", { scope: "col" }, name)))),
          body)),
      note, more),
    close() {},
  };
}
