// Light, dark, or what the system says; the choice is kept in this browser.
const choices = ["system", "light", "dark"];
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = [];

export function themeChoice() {
  const kept = localStorage.getItem("paddock.theme");
  return choices.includes(kept) ? kept : "system";
}

export function isDark() {
  const choice = themeChoice();
  return choice === "system" ? system.matches : choice === "dark";
}

export function applyTheme() {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  for (const listener of listeners) listener(isDark());
}

export function nextTheme() {
  const next = choices[(choices.indexOf(themeChoice()) + 1) % choices.length];
  localStorage.setItem("paddock.theme", next);
  applyTheme();
  return next;
}

export function onTheme(listener) {
  listeners.push(listener);
  listener(isDark());
}

system.addEventListener("change", applyTheme);
