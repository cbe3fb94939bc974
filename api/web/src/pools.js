// The view of the controller at work: pools, their sandboxes, what happened.
import { watch } from "./api.js";
import { age, h, plural, svg } from "./dom.js";

const POOLS = "/apis/paddock.dev/v1/namespaces/default/sandboxpools";
const SANDBOXES = "/apis/paddock.dev/v1/namespaces/default/sandboxes";
const EVENTS = "/api/v1/namespaces/default/events";
const DEAD_SHOWN = 6;
const EVENTS_SHOWN = 60;
const TRACE_S = 120;

const phases = ["Claimed", "Warm", "Starting", "Terminating", "Dead"];

// ---- parts of a pool's card ----

// How many there are, between the least and the most.
function gauge(status, spec) {
  const most = Math.max(spec.maxSize ?? 1, status.replicas ?? 0, 1);
  const parts = [["Claimed", status.claimedReplicas], ["Warm", status.readyReplicas], ["Starting", status.startingReplicas], ["Terminating", status.terminatingReplicas]];
  const bar = svg("svg", { class: "gauge", viewBox: `0 0 ${most * 10} 12`, preserveAspectRatio: "none", "aria-hidden": "true" });
  let at = 0;
  bar.append(svg("rect", { x: 0, y: 2, width: most * 10, height: 8, rx: 0, class: "gauge-room" }));
  for (const [name, count = 0] of parts) {
    if (!count) continue;
    bar.append(svg("rect", { x: at * 10, y: 2, width: count * 10, height: 8, class: `phase-fill ${name}` }));
    at += count;
  }
  if (spec.minSize > 0) bar.append(svg("path", { d: `M${spec.minSize * 10},0V12`, class: "gauge-mark" }));
  return bar;
}

// The last two minutes: all that exist, and those in use.
function trace(points, most, now) {
  const x = (t) => ((t - now) / 1000 / TRACE_S) * 200 + 200;
  const y = (n) => 38 - (n / Math.max(most, 1)) * 34;
  const line = (pick) => {
    let path = "";
    points.forEach((p, i) => {
      if (i) path += `H${x(p.time).toFixed(1)}`;
      path += `${i ? "V" : "M"}${i ? "" : x(p.time).toFixed(1) + ","}${y(pick(p)).toFixed(1)}`;
    });
    return path + "H200";
  };
  const shape = svg("svg", { class: "trace", viewBox: "0 0 200 40", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (points.length) {
    const area = (pick) => `${line(pick)}V40H${x(points[0].time).toFixed(1)}Z`;
    for (const [pick, name] of [[(p) => p.all, "all"], [(p) => p.used, "used"]])
      shape.append(svg("path", { d: area(pick), class: `trace-area ${name}` }), svg("path", { d: line(pick), class: `trace-line ${name}` }));
  }
  return shape;
}

const stat = (name, value, title) => h("div", { class: "stat", title }, h("dt", {}, name), h("dd", {}, String(value)));

function conditions(status) {
  const tones = { Available: ["good", "bad"], Progressing: ["busy", "plain"], Degraded: ["bad", "plain"] };
  return (status.conditions ?? [])
    .filter(({ type, status: holds }) => type === "Available" || holds === "True")
    .map(({ type, status: holds, message, reason }) =>
      h("span", { class: "badge", "data-tone": (tones[type] ?? ["plain", "plain"])[holds === "True" ? 0 : 1], title: message || reason || "" },
        holds === "True" ? type : `Not ${type.toLowerCase()}`));
}

function trouble(status) {
  const bad = (status.conditions ?? []).find(({ type, status: holds }) => type === "Degraded" && holds === "True");
  return bad?.message ? h("p", { class: "bad" }, bad.message) : null;
}

// ---- sandboxes: one element each, kept, so that a change can be seen ----

function makeChip(pool) {
  const name = h("span", { class: "chip-name" });
  const phase = h("span", { class: "chip-phase" });
  const more = h("span", { class: "chip-more" });
  const element = h("li", { class: "chip" }, h("span", { class: "dot", "aria-hidden": "true" }), name, phase, more);
  return {
    element,
    update({ metadata, status = {} }) {
      const since = status.diedAt ?? status.claimedAt ?? metadata.creationTimestamp;
      element.dataset.phase = status.phase ?? "";
      element.dataset.id = metadata.name;
      element.dataset.provider = status.providerID ?? "";
      element.title = [metadata.name, status.providerID, status.reason].filter(Boolean).join("\n");
      name.textContent = metadata.name.startsWith(`${pool}-`) ? metadata.name.slice(pool.length + 1) : metadata.name;
      phase.textContent = status.phase ?? "";
      more.textContent = [age(since), status.runs ? plural(status.runs, "run") : "", status.phase === "Dead" ? status.reason : ""].filter(Boolean).join(" · ");
    },
  };
}

function makeCard(name) {
  const head = h("div", { class: "card-head" });
  const picture = h("div", { class: "card-picture" });
  const stats = h("dl", { class: "stats" });
  const list = h("ul", { class: "chips", "aria-label": `Sandboxes of ${name}` });
  const element = h("section", { class: "card", "aria-label": `Pool ${name}`, "data-pool": name }, head, picture, stats, list);
  const nothing = h("p", { class: "hint", hidden: true });
  element.append(nothing);
  const chips = new Map();
  const points = [];

  function updateChips(sandboxes) {
    const dead = sandboxes.filter((s) => s.status?.phase === "Dead").sort((a, b) => String(b.status.diedAt).localeCompare(String(a.status.diedAt)));
    const shown = [...sandboxes.filter((s) => s.status?.phase !== "Dead"), ...dead.slice(0, DEAD_SHOWN)];
    const order = (s) => [s.status?.phase === "Dead" ? 1 : 0, s.metadata.creationTimestamp ?? "", s.metadata.name].join(" ");
    shown.sort((a, b) => order(a).localeCompare(order(b)));
    const ids = new Set(shown.map((s) => s.metadata.name));
    for (const [id, chip] of chips) {
      if (ids.has(id)) continue;
      chip.element.remove();
      chips.delete(id);
    }
    shown.forEach((sandbox, i) => {
      let chip = chips.get(sandbox.metadata.name);
      if (!chip) chips.set(sandbox.metadata.name, (chip = makeChip(name)));
      chip.update(sandbox);
      if (list.children[i] !== chip.element) list.insertBefore(chip.element, list.children[i] ?? null);
    });
  }

  function update(pool, sandboxes) {
    const { spec, status = {} } = pool;
    const now = Date.now();
    const last = points.at(-1);
    const used = status.claimedReplicas ?? 0;
    const all = status.replicas ?? 0;
    if (!last || last.all !== all || last.used !== used) points.push({ time: now, all, used });
    while (points.length > 1 && points[1].time < now - TRACE_S * 1000) points.shift();
    head.replaceChildren(
      h("h2", {}, name), h("span", { class: "hint image" }, spec.image ?? ""), h("span", { class: "push" }),
      ...(pool.metadata.deletionTimestamp ? [h("span", { class: "badge", "data-tone": "busy" }, "Draining")] : []),
      ...conditions(status));
    picture.replaceChildren(...[trouble(status),
      h("p", { class: "sizes" },
        h("strong", {}, String(all)), ` of ${spec.minSize ?? 0} to ${spec.maxSize ?? 0} sandboxes.`,
        h("span", { class: "wanted" }, ` ${spec.targetIdle ?? 0} idle wanted beyond those in use`)),
      gauge(status, spec), trace(points, Math.max(spec.maxSize ?? 1, all), now),
      h("p", { class: "hint trace-note" }, "All, and in use, over the last two minutes")].filter(Boolean));
    stats.replaceChildren(
      stat("In use", used), stat("Warm", status.readyReplicas ?? 0), stat("Starting", status.startingReplicas ?? 0),
      stat("Terminating", status.terminatingReplicas ?? 0), stat("Queue", status.queueLength ?? 0, "Runs that wait for a sandbox"),
      stat("Warm hits", status.warmHitRatio === undefined || status.warmHitRatio === null ? "–" : `${(status.warmHitRatio * 100).toFixed(1)}%`, "Runs that met a warm sandbox at once"));
    updateChips(sandboxes);
    nothing.hidden = list.children.length > 0;
    nothing.textContent = spec.minSize ? "No sandbox yet." : "No sandbox: the first run will have one made.";
  }
  return { element, update };
}

// ---- the view ----

function eventRow(event) {
  const when = event.lastTimestamp ?? event.metadata.creationTimestamp;
  return h("li", { class: "event", "data-type": event.type },
    h("time", { class: "hint", datetime: when }, `${age(when)} ago`),
    h("span", { class: "badge", "data-tone": event.type === "Warning" ? "bad" : "plain" }, event.reason ?? ""),
    h("span", {}, h("b", {}, event.involvedObject?.name ?? ""), ` ${event.message ?? ""}`, event.count > 1 ? h("span", { class: "hint" }, ` ×${event.count}`) : null));
}

export function makePoolsView() {
  const stop = new AbortController();
  const pools = new Map();
  const sandboxes = new Map();
  const events = new Map();
  const cards = new Map();
  const note = h("p", { class: "hint", role: "status" }, "Loading…");
  const cardBox = h("div", { class: "cards" });
  const eventList = h("ul", { class: "events" });
  let due = false;
  let lost = false; // the service says nothing at present
  let listed = false; // pools have come once

  function draw() {
    due = false;
    if (stop.signal.aborted) return;
    const names = [...pools.values()].map((pool) => pool.metadata.name).sort();
    for (const [name, card] of cards) {
      if (names.includes(name)) continue;
      card.element.remove();
      cards.delete(name);
    }
    for (const pool of [...pools.values()].sort((a, b) => a.metadata.name.localeCompare(b.metadata.name))) {
      const name = pool.metadata.name;
      if (!cards.has(name)) {
        cards.set(name, makeCard(name));
        cardBox.append(cards.get(name).element);
      }
      cards.get(name).update(pool, [...sandboxes.values()].filter((s) => s.spec?.pool === name));
    }
    cardBox.classList.toggle("stale", lost);
    if (listed && !lost) note.textContent = names.length ? "" : "There is no pool. One is declared by a manifest (docs/pools.md), or with kubectl.";
    const latest = [...events.values()].sort((a, b) => String(b.lastTimestamp).localeCompare(String(a.lastTimestamp))).slice(0, EVENTS_SHOWN);
    eventList.replaceChildren(...(latest.length ? latest.map(eventRow) : [h("li", { class: "hint" }, "Nothing has happened yet.")]));
  }

  function changed() {
    if (due) return;
    due = true;
    requestAnimationFrame(draw);
  }

  function failed(error) {
    lost = Boolean(error);
    if (error) note.textContent = error.status === 404 ? "This service does not tell of its pools." : `${error.message} What is shown is as it was last.`;
    else note.textContent = "";
    changed();
  }

  const follow = (path, items) => watch(path, { signal: stop.signal, items, changed, failed });
  watch(POOLS, { signal: stop.signal, items: pools, failed, changed: () => ((listed = true), changed()) });
  follow(SANDBOXES, sandboxes);
  follow(EVENTS, events);
  const clock = setInterval(changed, 1000);

  return {
    element: h("section", { class: "page pools", "aria-labelledby": "pools-title" },
      h("div", { class: "page-head" }, h("h1", { id: "pools-title" }, "Pools"), h("p", { class: "hint" }, "What is wanted, what exists, and what the controller does about it."),
        h("ul", { class: "legend", "aria-label": "Phases" }, phases.map((name) => h("li", { "data-phase": name }, h("span", { class: "dot", "aria-hidden": "true" }), name)))),
      note,
      h("div", { class: "pools-columns" },
        cardBox,
        h("section", { class: "card events-card", "aria-labelledby": "events-title" }, h("h2", { id: "events-title" }, "Events"),
          h("div", { class: "events-box", tabindex: "0", role: "region", "aria-label": "Latest events" }, eventList)))),
    close() {
      stop.abort();
      clearInterval(clock);
    },
  };
}
