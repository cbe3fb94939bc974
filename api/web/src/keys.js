// The keyboard's part, in a dialog.
import { h } from "./dom.js";

export const mac = /Mac|iP(hone|ad)/.test(navigator.platform);
const mod = mac ? "⌘" : "Ctrl";
const keys = [
  [[mod, "Enter"], "Run the program"],
  [[mod, "."], "Stop it"],
  [["Escape", "Tab"], "Leave the editor (Tab alone indents)"],
  [["Ctrl", "C"], "In the terminal: interrupt"],
  [["Ctrl", "D"], "In the terminal: end of input"],
  [["Shift", "Tab"], "Leave the terminal"],
  [["?"], "These keys, outside of text"],
];
let dialog = null;

export function showKeys() {
  if (!dialog) {
    dialog = h("dialog", { class: "keys", "aria-labelledby": "keys-title" },
      h("h2", { id: "keys-title" }, "Keyboard"),
      h("dl", {}, keys.map(([names, what]) => h("div", {}, h("dt", {}, names.map((name) => h("kbd", {}, name))), h("dd", {}, what)))),
      h("form", { method: "dialog" }, h("button", { class: "primary" }, "Close")));
    document.body.append(dialog);
  }
  if (!dialog.open) dialog.showModal();
}
