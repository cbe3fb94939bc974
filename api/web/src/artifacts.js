// Files that a run left: images to look at, everything to keep.
import { bytes, h } from "./dom.js";

const images = { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp", svg: "image/svg+xml" };

function typeOf(path) {
  return images[path.split(".").pop().toLowerCase()];
}

// element: where they are shown. add(frame) takes an "artifact" frame's members.
export function makeArtifacts(element) {
  const urls = [];
  const list = h("ul", { class: "artifacts" });
  element.append(h("h2", {}, "Files"), list);
  element.hidden = true;

  function add({ path, size, content, encoding, error }) {
    element.hidden = false;
    if (error) {
      list.append(h("li", { class: "artifact" }, h("span", { class: "artifact-name" }, path), h("span", { class: "bad" }, error)));
      return;
    }
    const data = encoding === "base64" ? Uint8Array.from(atob(content), (c) => c.charCodeAt(0)) : content;
    const type = typeOf(path);
    const url = URL.createObjectURL(new Blob([data], { type: type ?? "application/octet-stream" }));
    urls.push(url);
    list.append(
      h("li", { class: type ? "artifact artifact-image" : "artifact" },
        type && h("img", { src: url, alt: `The file ${path}` }),
        h("p", { class: "artifact-line" },
          h("a", { href: url, download: path.split("/").pop(), class: "artifact-name", title: "Save" }, path), " ",
          h("span", { class: "hint" }, bytes(size)))),
    );
  }

  function clear() {
    for (const url of urls.splice(0)) URL.revokeObjectURL(url);
    list.replaceChildren();
    element.hidden = true;
  }
  return { add, clear };
}
