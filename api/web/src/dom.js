// Elements by a call: h("p", {class: "note", onclick: f}, "text", child, ...).
export function h(name, props = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list" && key !== "form" && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function svg(name, props = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(props)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Said by screen readers, once.
export function announce(text) {
  const status = document.getElementById("status");
  status.textContent = "";
  setTimeout(() => (status.textContent = text), 30);
}

// A sentence for everybody, until the next one or null.
export function alertUser(text) {
  const alert = document.getElementById("alert");
  alert.textContent = text ?? "";
  alert.hidden = !text;
}

export function plural(count, noun, nouns = noun + "s") {
  return `${count} ${count === 1 ? noun : nouns}`;
}

export function seconds(value) {
  if (value === undefined || value === null) return "";
  if (value < 0.0995) return `${(value * 1000).toFixed(1)} ms`;
  if (value < 60) return `${value.toFixed(2)} s`;
  return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

export function bytes(value) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
}

// "12 s", "5 min", "3 h", "2 d": how long ago a time (RFC 3339 or ms) was.
export function age(time, now = Date.now()) {
  const passed = Math.max(0, (now - new Date(time).getTime()) / 1000);
  if (!Number.isFinite(passed)) return "";
  if (passed < 100) return `${Math.floor(passed)} s`;
  if (passed < 5400) return `${Math.floor(passed / 60)} min`;
  if (passed < 129600) return `${Math.floor(passed / 3600)} h`;
  return `${Math.floor(passed / 86400)} d`;
}
