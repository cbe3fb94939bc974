// Shows /openapi.json. Nothing of it is ever taken for markup: text goes into text nodes.
"use strict";

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.append(text);
  made.append(...children);
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
    const required = (node.required || []).includes(name) ? "" : " (optional)";
    const label = prefix ? prefix + "." + name : name;
    rows.push(element("tr", "", element("td", label),
      element("td", typeOf(document_, member) + required),
      element("td", [member.description, bounds(member)].filter(Boolean).join(" — "))));
    if (depth < 3) rows.push(...members(document_, member, label, depth + 1));
  }
  return rows;
}

function content(document_, media) {
  const parts = [];
  for (const [type, value] of Object.entries(media || {})) {
    parts.push(element("p", type));
    const rows = members(document_, value.schema, "", 0);
    if (rows.length) parts.push(element("table", "", ...rows));
    for (const [name, example] of Object.entries(value.examples || {})) {
      const status = example["x-status"] ? " → " + example["x-status"] : "";
      parts.push(element("p", (example.summary || name) + status));
      parts.push(element("pre", JSON.stringify(example.value, null, 2)));
    }
  }
  return parts;
}

function operation(document_, path, method, about) {
  const made = element("section");
  made.id = about.operationId;
  const verb = element("span", method.toUpperCase());
  verb.className = "method " + method;
  made.append(element("h2", "", verb, " " + path), element("p", about.summary));
  if (about.description) made.append(element("p", about.description));
  const parameters = (about.parameters || []).map((p) => resolve(document_, p));
  if (parameters.length)
    made.append(element("h3", "Parameters"), element("table", "", ...parameters.map((p) =>
      element("tr", "", element("td", p.name), element("td", p.in + (p.required ? "" : " (optional)")),
        element("td", [p.description, typeOf(document_, p.schema)].filter(Boolean).join(" — "))))));
  if (about.requestBody)
    made.append(element("h3", "Body"), ...content(document_, about.requestBody.content));
  made.append(element("h3", "Answers"));
  for (const [status, value] of Object.entries(about.responses)) {
    const answer = resolve(document_, value);
    made.append(element("p", "", element("b", status), " " + answer.description));
    if (status < "300") made.append(...content(document_, answer.content));
  }
  return made;
}

function show(document_) {
  const contents = document.getElementById("contents");
  const reference = document.getElementById("reference");
  document.getElementById("about").textContent =
    document_.info.title + " " + document_.info.version + ". " + document_.info.description;
  reference.textContent = "";
  for (const tag of document_.tags) {
    contents.append(element("h2", tag.name));
    for (const [path, item] of Object.entries(document_.paths))
      for (const [method, about] of Object.entries(item)) {
        if (!about.tags || !about.tags.includes(tag.name)) continue;
        const link = element("a", method.toUpperCase() + " " + path);
        link.href = "#" + about.operationId;
        contents.append(link);
        reference.append(operation(document_, path, method, about));
      }
  }
}

fetch("/openapi.json").then((answer) => answer.json()).then(show, (error) => {
  document.getElementById("reference").textContent = "The reference could not be had: " + error;
});
