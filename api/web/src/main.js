// The console: which view is shown is in the fragment of the address.
//   #/  #/run/ID  #/history  #/pools
import "./csp.js";
import "./console.css";
import { get, remove } from "./api.js";
import { alertUser, announce } from "./dom.js";
import { showKeys } from "./keys.js";
import { makeHistoryView } from "./history.js";
import { makePoolsView } from "./pools.js";
import { makeRunView } from "./run.js";
import { applyTheme, nextTheme, themeChoice } from "./theme.js";

const main = document.getElementById("main");
const themeButton = document.getElementById("theme");
const makers = { history: makeHistoryView, pools: makePoolsView };
const titles = { run: "Run", history: "History", pools: "Pools" };
let shown = null; // the view besides the run view, which stays

function goTo(hash, follow = true) {
  if (location.hash === hash) return;
  if (follow) location.hash = hash;
  else history.replaceState(null, "", hash);
}

const runView = makeRunView(goTo);

function route() {
  const [name = "", id] = location.hash.replace(/^#\/?/, "").split("/");
  const view = name in makers ? name : "run";
  shown?.close();
  shown?.element.remove();
  shown = null;
  alertUser(null);
  runView.element.hidden = view !== "run";
  if (view !== "run") {
    shown = makers[view]();
    main.append(shown.element);
  } else {
    runView.shown();
    if (name === "run" && id) runView.open(decodeURIComponent(id));
    else if (runView.current()) history.replaceState(null, "", `#/run/${runView.current()}`);
  }
  document.title = `${titles[view]} · paddock`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function labelTheme() {
  themeButton.querySelector(".label").textContent = { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" }[themeChoice()];
}

themeButton.addEventListener("click", () => {
  nextTheme();
  labelTheme();
  announce(themeButton.textContent.trim());
});
document.getElementById("logout").addEventListener("click", async () => {
  await remove("/session").catch(() => {});
  location.replace("/login");
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "?" || event.target.closest("input, textarea, select, [contenteditable=true]")) return;
  event.preventDefault();
  showKeys();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

applyTheme();
labelTheme();
try {
  const { scopes } = await get("/session");
  main.append(runView.element);
  runView.begin(scopes.includes("execute"));
  route();
  window.addEventListener("hashchange", route);
} catch (error) {
  if (error.status !== 401) alertUser(error.message);
}
