// Shows /openapi.json. Nothing of it is ever taken for markup: text goes into text nodes.
"use strict";

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.append(text);
  made.append(...children);
  return made;
}

// `words` between backticks become code; the rest is text, as all of it is.
function prose(name, text) {
  const made = document.createElement(name);
  text.split("`").forEach((part, i) => made.append(i % 2 ? element("code", part) : part));
  return made;
}

// A table that scrolls by itself where it is too wide, by the keyboard, too.
function table(label, heads, rows) {
  const box = element("div", "", element("table", "",
    element("thead", "", element("tr", "", ...heads.map((head) => {
      const cell = element("th", head);
      cell.scope = "col";
      return cell;
    }))),
    element("tbody", "", ...rows)));
  box.className = "table";
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  return box;
}

function sample(text, label) {
  const made = element("pre", text);
  made.tabIndex = 0;
  made.setAttribute("role", "region");
  made.setAttribute("aria-label", label);
  return made;
}

function resolve(document_, node) {
  for (let i = 0; node && node.$ref && i < 8; i++)
    node = node.$ref.slice(2).split("/").reduce((at, key) => at[key], document_);
  return node || {};
}

function typeOf(document_, schema) {
  const node = resolve(document_, schema);
  if (node.const !== undefined) return JSON.stringify(node.const);
  if (node.enum) return node.enum.map((v) => JSON.stringify(v)).join(" | ");
  if (node.type === "array") return "[" + typeOf(document_, node.items) + "]";
  return [].concat(node.type || "any").join(" | ");
}

function bounds(node) {
  const words = [];
  for (const key of ["default", "minimum", "exclusiveMinimum", "maximum", "minLength", "maxLength", "maxItems", "maxProperties", "pattern"])
    if (node[key] !== undefined && JSON.stringify(node[key]).length < 60) words.push(key + " " + JSON.stringify(node[key]));
  return words.join(", ");
}

function members(document_, schema, prefix, depth) {
  const node = resolve(document_, schema);
  const rows = [];
  if (node.type === "array") return members(document_, node.items, prefix + "[]", depth);
  for (const [name, value] of Object.entries(node.properties || {})) {
    const member = resolve(document_, value);
    const required = (node.required || []).includes(name) ? ", required" : "";
    const label = prefix ? prefix + "." + name : name;
    rows.push(element("tr", "", element("td", label),
      element("td", typeOf(document_, member) + required),
      prose("td", [member.description, bounds(member) && `(${bounds(member)})`].filter(Boolean).join(" "))));
    if (depth < 3) rows.push(...members(document_, member, label, depth + 1));
  }
  return rows;
}

function content(document_, media, what) {
  const parts = [];
  for (const [type, value] of Object.entries(media || {})) {
    const kind = element("p", "", element("code", type));
    kind.className = "type";
    parts.push(kind);
    const rows = members(document_, value.schema, "", 0);
    if (rows.length) parts.push(table(`${what}, members`, ["Member", "Type", "Meaning"], rows));
    for (const [name, example] of Object.entries(value.examples || {})) {
      const status = example["x-status"] ? " → " + example["x-status"] : "";
      const caption = (example.summary || name) + status;
      parts.push(element("h4", caption));
      parts.push(sample(JSON.stringify(example.value, null, 2), `${what}: ${caption}`));
    }
  }
  return parts;
}

function operation(document_, path, method, about) {
  const made = element("section");
  made.id = about.operationId;
  const verb = element("span", method.toUpperCase());
  verb.className = "method " + method;
  const name = `${method.toUpperCase()} ${path}`;
  const anchor = element("a", path);
  anchor.href = "#" + about.operationId;
  made.setAttribute("aria-label", name);
  made.append(element("h2", "", verb, " ", anchor), prose("p", about.summary));
  made.lastChild.className = "summary";
  if (about.description) made.append(prose("p", about.description));
  const parameters = (about.parameters || []).map((p) => resolve(document_, p));
  if (parameters.length)
    made.append(element("h3", "Parameters"), table(`${name}, parameters`, ["Name", "In", "Type", "Meaning"], parameters.map((p) =>
      element("tr", "", element("td", p.name), element("td", p.in + (p.required ? ", required" : "")),
        element("td", typeOf(document_, p.schema)), prose("td", p.description || "")))));
  if (about.requestBody)
    made.append(element("h3", "Body"), ...content(document_, about.requestBody.content, `${name}, body`));
  made.append(element("h3", "Answers"));
  for (const [status, value] of Object.entries(about.responses)) {
    const answer = resolve(document_, value);
    const line = prose("p", answer.description);
    const badge = element("b", status);
    badge.className = `status s${status[0]}`;
    line.prepend(badge, " ");
    line.className = "answer";
    made.append(line);
    if (status < "300") made.append(...content(document_, answer.content, `${name}, ${status}`));
  }
  return made;
}

function show(document_) {
  const contents = document.getElementById("contents");
  const reference = document.getElementById("reference");
  document.getElementById("about").replaceWith(prose("p", document_.info.title + " " + document_.info.version + ". " + document_.info.description));
  reference.textContent = "";
  for (const tag of document_.tags) {
    contents.append(element("h2", tag.name));
    for (const [path, item] of Object.entries(document_.paths))
      for (const [method, about] of Object.entries(item)) {
        if (!about.tags || !about.tags.includes(tag.name)) continue;
        const verb = element("span", method.toUpperCase());
        verb.className = "method " + method;
        const link = element("a", "", verb, " " + path);
        link.href = "#" + about.operationId;
        contents.append(link);
        reference.append(operation(document_, path, method, about));
      }
  }
  const wanted = location.hash && document.getElementById(location.hash.slice(1)); // it was not there before
  if (wanted) wanted.scrollIntoView();
}

fetch("/openapi.json").then((answer) => answer.json()).then(show, (error) => {
  document.getElementById("reference").textContent = "The reference could not be had: " + error;
});
