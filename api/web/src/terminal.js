// The terminal: xterm, and for programs without a terminal of their own the line
// editing that one would do (echo, erase, end of file).
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { onTheme } from "./theme.js";

const light = {
  background: "#fbfbf9", foreground: "#1b2420", cursor: "#1d6b48", cursorAccent: "#fbfbf9", selectionBackground: "#bfe0cf",
  black: "#1b2420", red: "#b3261e", green: "#1d6b48", yellow: "#7d5a00", blue: "#1d56a5", magenta: "#8a2f86", cyan: "#0b6a75", white: "#5b6660",
  brightBlack: "#5b6660", brightRed: "#c5362d", brightGreen: "#1f7a50", brightYellow: "#8a6400", brightBlue: "#2463bd", brightMagenta: "#9b3a97", brightCyan: "#0d7683", brightWhite: "#1b2420",
};
const dark = {
  background: "#12171a", foreground: "#e4eae6", cursor: "#63c795", cursorAccent: "#12171a", selectionBackground: "#2d5744",
  black: "#2a3237", red: "#ff8f85", green: "#6fd3a0", yellow: "#e8c26a", blue: "#86b6ff", magenta: "#e39be0", cyan: "#6cd2de", white: "#d3dbd6",
  brightBlack: "#8d9a94", brightRed: "#ffaca5", brightGreen: "#93e2b9", brightYellow: "#f4d68f", brightBlue: "#a9ccff", brightMagenta: "#f0b8ed", brightCyan: "#94e4ed", brightWhite: "#ffffff",
};

// send: {stdin(text), eof(), signal(name), resize(rows, columns)}
export function makeTerminal(parent, send) {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const terminal = new Terminal({
    convertEol: true, disableStdin: true, scrollback: 20000, fontSize: 13, lineHeight: 1.25, minimumContrastRatio: 4.5,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"), cursorInactiveStyle: "none",
    screenReaderMode: localStorage.getItem("paddock.reader") === "on",
  });
  const fit = new FitAddon();
  let mode = "off"; // off, line (no terminal of its own), raw (it has one)
  let line = "";

  terminal.loadAddon(fit);
  terminal.open(parent);
  terminal.textarea.setAttribute("aria-label", "Terminal: the program's output, and its input while it runs");
  onTheme((isDark) => (terminal.options.theme = isDark ? dark : light));

  const shape = () => {
    if (parent.clientWidth > 0 && parent.clientHeight > 0) fit.fit();
  };
  const watcher = new ResizeObserver(shape);
  watcher.observe(parent);
  shape();
  terminal.onResize(({ rows, cols }) => mode === "raw" && send.resize(rows, cols));

  // Tab moves on, unless a program wants it; Shift+Tab always moves back.
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.key === "Tab") return mode === "raw" && !event.shiftKey;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return false;
    if (event.key === "c" && event.ctrlKey && terminal.hasSelection()) return false;
    if ((event.key === "c" || event.key === "C") && event.ctrlKey && event.shiftKey) return false;
    if ((event.key === "v" || event.key === "V") && (event.ctrlKey || event.metaKey)) return false;
    return true;
  });

  function edit(data) {
    for (const char of data.replace(/\x1b\[[0-9;?]*[A-Za-z~]|\x1b[O]?./g, "")) {
      if (char === "\r" || char === "\n") {
        terminal.write("\r\n");
        send.stdin(line + "\n");
        line = "";
      } else if (char === "\x7f" || char === "\b") {
        if (!line) continue;
        const letters = [...line];
        const gone = letters.pop();
        line = letters.join("");
        terminal.write(gone.codePointAt(0) >= 0x1100 ? "\b\b  \b\b" : "\b \b");
      } else if (char === "\x03") {
        terminal.write("^C\r\n");
        line = "";
        send.signal("INT");
      } else if (char === "\x04") {
        if (line) send.stdin(line);
        else send.eof();
        line = "";
      } else if (char >= " ") {
        line += char;
        terminal.write(char);
      }
    }
  }
  terminal.onData((data) => {
    if (mode === "raw") send.stdin(data);
    else if (mode === "line") edit(data);
  });

  return {
    size: () => ({ rows: terminal.rows, cols: terminal.cols }),
    focus: () => terminal.focus(),
    fit: shape,
    write: (data) => terminal.write(data),
    // Errors in red, whatever colour the program left behind.
    writeError(data) {
      terminal.write("\x1b[31m");
      terminal.write(data);
      terminal.write("\x1b[39m");
    },
    note: (text) => terminal.write(`\x1b[90m${text}\x1b[0m\r\n`),
    clear() {
      terminal.reset();
      line = "";
    },
    setMode(next) {
      mode = next;
      line = "";
      terminal.options.disableStdin = next === "off";
      terminal.options.convertEol = next !== "raw";
      if (next === "off") terminal.write("\x1b[?25l");
      terminal.options.cursorBlink = next !== "off" && !still.matches;
    },
    setReader(on) {
      localStorage.setItem("paddock.reader", on ? "on" : "off");
      terminal.options.screenReaderMode = on;
    },
    isReader: () => terminal.options.screenReaderMode,
    text() {
      const buffer = terminal.buffer.active;
      let text = "";
      for (let i = 0; i < buffer.length; i++) {
        const row = buffer.getLine(i);
        text += (row.isWrapped || i === 0 ? "" : "\n") + row.translateToString(true);
      }
      return text.trimEnd();
    },
    destroy() {
      watcher.disconnect();
      terminal.dispose();
    },
  };
}
