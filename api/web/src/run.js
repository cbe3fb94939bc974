// The view where programs are written and run.
import { get, remove } from "./api.js";
import { makeArtifacts } from "./artifacts.js";
import { alertUser, announce, h } from "./dom.js";
import { makeEditor } from "./editor.js";
import { mac, showKeys } from "./keys.js";
import { describe, facts, startOf } from "./outcome.js";
import { recall, remember } from "./programs.js";
import { recover } from "./recover.js";
import { sampleOf, titles } from "./samples.js";
import { startRun, viewRun } from "./stream.js";
import { makeTerminal } from "./terminal.js";

const draftOf = (language) => localStorage.getItem(`paddock.draft.${language}`) ?? sampleOf(language);
const SILENT_MAX = 5;
const words = (text) => text.split(/[\s,]+/).filter(Boolean);

// "NAME=value" lines into an object.
function environment(text) {
  const env = {};
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) env[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return env;
}

export function makeRunView(goTo) {
  const language = h("select", { id: "language" });
  const pool = h("select", { id: "pool" });
  const timeout = h("input", { id: "timeout", type: "number", min: "0.1", max: "86400", step: "any", placeholder: "default", inputmode: "decimal" });
  const cpuTime = h("input", { id: "cpu-time", type: "number", min: "0.1", max: "86400", step: "any", placeholder: "no limit of its own", inputmode: "decimal" });
  const runButton = h("button", { type: "button", id: "run", class: "primary", onclick: () => run(), "aria-keyshortcuts": mac ? "Meta+Enter" : "Control+Enter" }, "Run ", h("kbd", {}, mac ? "⌘ ⏎" : "Ctrl ⏎"));
  const stopButton = h("button", { type: "button", id: "stop", onclick: () => stop(), disabled: true, title: mac ? "⌘ ." : "Ctrl .", "aria-keyshortcuts": mac ? "Meta+." : "Control+." }, "Stop");
  const editorBox = h("div", { class: "editor", id: "editor" });
  const args = h("input", { id: "args", autocomplete: "off", spellcheck: "false" });
  const env = h("textarea", { id: "env", rows: "2", spellcheck: "false", placeholder: "NAME=value" });
  const patterns = h("input", { id: "patterns", value: "*.png *.svg *.jpg *.csv out/**", spellcheck: "false" });
  const phase = h("span", { id: "phase", class: "badge", "data-tone": "plain" }, "Ready");
  const details = h("span", { id: "facts", class: "hint" });
  const tty = h("input", { type: "checkbox", id: "tty" });
  const reader = h("input", { type: "checkbox", id: "reader" });
  const eofButton = h("button", { type: "button", class: "quiet", id: "eof", hidden: true, onclick: () => live?.send({ type: "stdin_eof" }) }, "End input");
  const emptyNote = h("div", { class: "empty", id: "empty" },
    h("p", {}, "Output appears here as it is printed."),
    h("p", { class: "hint" }, h("kbd", {}, mac ? "⌘" : "Ctrl"), " ", h("kbd", {}, "Enter"), " runs, ", h("kbd", {}, mac ? "⌘" : "Ctrl"), " ", h("kbd", {}, "."), " stops."));
  const linkButton = h("button", { type: "button", class: "quiet", id: "link", hidden: true, onclick: copyLink }, "Copy link");
  const terminalBox = h("div", { class: "screen", id: "terminal" });
  const artifactsBox = h("section", { class: "files", "aria-label": "Files that the run left" });
  const artifacts = makeArtifacts(artifactsBox);
  let outputPane;
  const element = h("div", { class: "run" },
    h("h1", { class: "unseen" }, "Run a program"),
    h("section", { class: "pane", "aria-label": "Program" },
      h("div", { class: "tools" },
        h("label", {}, h("span", { class: "unseen" }, "Language"), language), h("label", {}, h("span", { class: "unseen" }, "Pool"), pool),
        h("label", { title: "The program is stopped after so many seconds; default: what the pool says" }, "Seconds", timeout),
        h("span", { class: "push" }), h("span", { class: "together" }, stopButton, runButton)),
      editorBox,
      h("details", { class: "more" },
        h("summary", {}, "Arguments, environment, CPU time, files"),
        h("label", {}, "Arguments, separated by spaces", args), h("label", {}, "Environment, a line each", env),
        h("label", {}, "CPU time at most, in s", cpuTime),
        h("label", {}, "Files to bring back, by patterns", patterns)),
      h("p", { class: "hint foot" }, h("span", { id: "editor-hint" }, "Escape, then Tab leaves the editor."),
        h("button", { type: "button", class: "quiet small", id: "keys", onclick: showKeys, "aria-keyshortcuts": "?" }, "Keyboard"))),
    outputPane = h("section", { class: "pane", "aria-label": "Output" },
      h("div", { class: "tools" }, phase, details, h("span", { class: "push" }), eofButton, linkButton,
        h("label", { class: "check", title: "Give the program a terminal of its own (a tty), as for curses or prompts that erase" }, tty, "Terminal"),
        h("label", { class: "check", title: "Let screen readers read the output" }, reader, "Screen reader")),
      terminalBox, artifactsBox));

  let editor;
  let terminal;
  let live = null; // the stream that is open
  let mine = false; // it was started here: input goes to it
  let id = null; // of the run that is shown
  let mayRun = false;
  let frames = 0; // that the stream has brought
  let silent = 0; // streams in a row that brought none
  let asked = null; // the request of the run that was started here
  let wanted = null; // language to choose once the list is there

  // ---- what there is ----

  let catalogue = { languages: [], pools: [] };

  async function loadLanguages() {
    try {
      catalogue = await get("/languages");
    } catch (error) {
      return alertUser(error.message);
    }
    const chosen = wanted ?? localStorage.getItem("paddock.language") ?? "python";
    language.replaceChildren(...catalogue.languages.map(({ name, version }) =>
      h("option", { value: name, title: version || "" }, titles[name] ?? name)));
    if (catalogue.languages.some(({ name }) => name === chosen)) language.value = chosen;
    loadPools();
    if (language.value !== chosen && !id) changeLanguage();
    editor.setLanguage(language.value);
  }

  function loadPools() {
    const there = catalogue.languages.find(({ name }) => name === language.value)?.pools ?? [];
    const chosen = pool.value;
    pool.replaceChildren(h("option", { value: "" }, "any pool"), ...there.map((name) => h("option", { value: name }, name)));
    if (there.includes(chosen)) pool.value = chosen;
  }

  function changeLanguage() {
    localStorage.setItem("paddock.language", language.value);
    editor.setLanguage(language.value);
    editor.setText(draftOf(language.value));
    loadPools();
  }

  // ---- a run ----

  function show(text, tone = "plain", more = "") {
    phase.textContent = text;
    phase.dataset.tone = tone;
    details.textContent = more;
    emptyNote.hidden = true;
  }

  function setLive(stream, own) {
    if (stream) frames = 0;
    live = stream;
    mine = own;
    element.dataset.state = stream ? "running" : "idle";
    stopButton.disabled = !stream;
    runButton.disabled = stream !== null || !mayRun;
    tty.disabled = stream !== null;
    eofButton.hidden = !(stream && own);
    terminal.setMode(stream && own ? (tty.checked ? "raw" : "line") : "off");
  }

  function setId(next) {
    id = next;
    linkButton.hidden = !next;
    goTo(next ? `#/run/${next}` : "#/", false);
  }

  function take(type, frame, data) {
    switch (type) {
      case "accepted":
        if (mine) remember(frame.id, asked.code, asked.language);
        if (frame.id && frame.id !== id) setId(frame.id);
        show("Accepted");
        break;
      case "queued":
        show("Waiting", "plain", frame.position ? `place ${frame.position} in the queue` : "");
        break;
      case "started":
        show("Running", "busy", startOf(frame.start));
        break;
      case "stage":
        show(frame.name === "compile" ? "Compiling" : "Running", "busy");
        break;
      case "stdout":
        terminal.write(data);
        break;
      case "stderr":
        terminal.writeError(data);
        break;
      case "artifact":
        artifacts.add(frame);
        break;
      case "dropped":
        terminal.note(`[${frame.bytes} bytes were left out here: this viewer was too slow]`);
        break;
      case "exit":
        finish(frame);
        break;
      case "error":
        fail(frame.problem ?? frame);
        break;
    }
  }

  function finish(result) {
    const { text, tone } = describe(result);
    const more = facts(result);
    setLive(null, false);
    show(text, tone, more);
    announce(`${text}. ${more}`);
  }

  const fields = { timeout, cpu_time: cpuTime, args, env, artifacts: patterns };

  // What is wrong with which field is said there, too.
  function blame(errors = []) {
    for (const [name, field] of Object.entries(fields)) {
      const wrong = errors.find(({ path }) => path.split(/[.[]/)[0] === name);
      if (wrong) {
        field.setAttribute("aria-invalid", "true");
        field.closest("details")?.setAttribute("open", "");
        field.focus();
      } else field.removeAttribute("aria-invalid");
    }
  }

  function fail({ detail, title, errors, status }) {
    const own = mine;
    setLive(null, false);
    if (own) setId(null);
    show(status === 429 || status === 503 ? "Not now" : "Refused", "bad");
    const why = errors?.length ? errors.map(({ path, message }) => `${path}: ${message}`).join("; ") : detail ?? title ?? "The run was refused.";
    alertUser(why);
    blame(errors);
  }

  const events = {
    frame(...frame) {
      frames++;
      take(...frame);
    },
    closed(reason) {
      if (!live) return;
      const own = mine;
      silent = frames ? 0 : silent + 1;
      setLive(null, false);
      if (!reason) return;
      if (id) resume();
      else if (own && frames === 0) notSent();
      else lost(reason);
    },
  };

  function lost(reason) {
    show("Connection lost", "bad");
    alertUser(`The connection ended before the run did: ${reason}.`);
  }

  // The run never began: the service is away, or stopping, or the session has ended.
  async function notSent() {
    show("Not sent", "bad");
    try {
      await get("/session");
      alertUser("The service did not take the run: it has too much to do, or the rate of this key is used up. Try again in a moment.");
    } catch (error) {
      if (error.status !== 401) alertUser(`${error.message} The program was not sent.`);
    }
  }

  // The connection went away in the middle, or was not had: what has become of the run?
  async function resume() {
    const run = id;
    if (silent > SILENT_MAX) return lost("the service has the run but does not show it");
    show("Reconnecting", "busy");
    if (silent) await new Promise((done) => setTimeout(done, 250 * 2 ** silent));
    const found = await recover(() => get(`/executions/${encodeURIComponent(run)}`), () => id !== run || live !== null);
    if (!found) return;
    if (found.record?.status === "done") return showRecord(found.record);
    if (found.record) return attach(run);
    if (found.error.status === 401) return;
    if (found.error.status !== 404) return lost(found.error.message);
    show("Ready");
    alertUser("This run is not known here any more.");
    setId(null);
  }

  // The run as it is kept, where there is nothing to follow.
  function showRecord({ status, cause, result, reason, ...rest }) {
    const { stdout, stderr, artifacts: files = [] } = result ?? {};
    terminal.clear();
    artifacts.clear();
    if (stdout) terminal.write(stdout);
    if (stderr) terminal.writeError(stderr);
    for (const file of files) artifacts.add(file);
    finish({ ...rest, ...result, status: cause });
    if (reason) alertUser(reason);
  }

  function request() {
    const body = { code: editor.text(), language: language.value, stdin_open: true, detach: true };
    if (pool.value) body.pool = pool.value;
    if (timeout.value) body.timeout = Number(timeout.value);
    if (cpuTime.value) body.cpu_time = Number(cpuTime.value);
    if (args.value.trim()) body.args = words(args.value);
    if (env.value.trim()) body.env = environment(env.value);
    if (patterns.value.trim()) body.artifacts = words(patterns.value);
    if (tty.checked) Object.assign(body, { tty: true, ...terminal.size() });
    return body;
  }

  function run() {
    if (live || !mayRun) return;
    alertUser(null);
    blame();
    artifacts.clear();
    terminal.clear();
    setId(null);
    show("Sending", "busy");
    asked = request();
    setLive(startRun(asked, events), true);
    announce("Running");
    outputPane.scrollIntoView({ block: "nearest" });
    terminal.focus();
  }

  async function stop() {
    if (!live) return;
    show("Stopping", "busy");
    if (mine) return live.send({ type: "cancel" });
    try {
      await remove(`/executions/${encodeURIComponent(id)}`);
    } catch (error) {
      alertUser(error.message);
    }
  }

  // ---- a run of before ----

  function attach(other) {
    artifacts.clear();
    terminal.clear();
    setLive(viewRun(other, events), false);
  }

  async function open(other) {
    if (other === id) return;
    live?.close();
    setLive(null, false);
    alertUser(null);
    id = other;
    linkButton.hidden = false;
    show("Replaying", "busy");
    showProgram(recall(other));
    try {
      const record = await get(`/executions/${encodeURIComponent(other)}`);
      showProgram({ language: record.language, code: record.code });
    } catch (error) {
      if (error.status !== 404) alertUser(error.message); // one that goes on may have no record yet
    }
    if (id === other) attach(other);
  }

  // A program of before; what is not known of it stays as it is.
  function showProgram({ language: name, code } = {}) {
    if (name) {
      wanted = name;
      if (catalogue.languages.some((one) => one.name === name)) language.value = name;
      editor.setLanguage(name);
      loadPools();
    }
    if (typeof code === "string") editor.setText(code);
  }

  async function copyLink() {
    try {
      await navigator.clipboard.writeText(location.href);
      announce("Link copied");
      linkButton.textContent = "Copied";
    } catch {
      linkButton.textContent = location.href;
    }
    setTimeout(() => (linkButton.textContent = "Copy link"), 1500);
  }

  // ---- life ----

  language.addEventListener("change", changeLanguage);
  reader.addEventListener("change", () => terminal.setReader(reader.checked));
  document.addEventListener("keydown", (event) => {
    if (element.hidden || !(event.ctrlKey || event.metaKey)) return;
    if (event.key === "Enter") run();
    else if (event.key === ".") stop();
    else return;
    event.preventDefault();
  });

  return {
    element,
    // allowed: whether the key of this session may run programs
    begin(allowed) {
      mayRun = allowed;
      const first = localStorage.getItem("paddock.language") ?? "python";
      editor = makeEditor(editorBox, {
        text: draftOf(first),
        label: "Program",
        run,
        changed: (text) => language.value && localStorage.setItem(`paddock.draft.${language.value}`, text),
      });
      editor.setLanguage(first);
      terminal = makeTerminal(terminalBox, {
        stdin: (data) => live?.input(data),
        eof: () => live?.send({ type: "stdin_eof" }),
        signal: (signal) => live?.send({ type: "signal", signal }),
        resize: (rows, cols) => live?.send({ type: "resize", rows, cols }),
      });
      reader.checked = terminal.isReader();
      setLive(null, false);
      terminalBox.append(emptyNote);
      if (!mayRun) show("Look only", "plain", "this key may not run programs");
      loadLanguages();
      editor.focus();
      window.paddock = { text: () => terminal.text() }; // for tests, and for the curious
    },
    open,
    shown: () => terminal?.fit(),
    current: () => id,
  };
}
