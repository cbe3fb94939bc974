// The view of runs that were.
import { get } from "./api.js";
import { age, h, seconds } from "./dom.js";
import { describe } from "./outcome.js";
import { titles } from "./samples.js";

const PAGE = 50;

const firstLine = (code) => (code ?? "").split("\n").find((line) => line.trim())?.trim().slice(0, 120) ?? "";

function row(run) {
  const asked = run.request ?? run;
  const done = run.status !== "running" && run.status !== "queued" && run.status !== "accepted";
  const { text, tone } = done ? describe(run.result ?? run) : { text: run.status === "running" ? "Running" : "Waiting", tone: "busy" };
  const when = run.created_at ?? run.created ?? run.accepted_at;
  return h("tr", {},
    h("td", {}, h("span", { class: "badge", "data-tone": tone }, text)),
    h("td", { class: "code" }, h("a", { href: `#/run/${run.id}` }, firstLine(asked.code) || run.id)),
    h("td", {}, titles[asked.language] ?? asked.language ?? ""),
    h("td", {}, run.pool ?? ""),
    h("td", { class: "number" }, seconds((run.result ?? run).execution_time)),
    h("td", { class: "number" }, when ? h("time", { datetime: new Date(when).toISOString(), title: new Date(when).toLocaleString() }, `${age(when)} ago`) : ""));
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
      const runs = page.items ?? page.executions ?? [];
      body.append(...runs.map(row));
      next = page.next_cursor ?? page.next ?? null;
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
      h("div", { class: "page-head" }, h("h1", { id: "history-title" }, "History"), h("p", { class: "hint" }, "Runs of this key, newest first. Open one to replay it.")),
      h("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": "Runs" },
        h("table", {},
          h("thead", {}, h("tr", {}, ...["Outcome", "Program", "Language", "Pool", "Ran", "When"].map((name) => h("th", { scope: "col" }, name)))),
          body)),
      note, more),
    close() {},
  };
}
