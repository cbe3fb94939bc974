// The page's policy refuses inline styles. The editor and the terminal make style
// elements and style attributes; both become CSSOM here, which the policy allows:
// a style element is a stand-in with a constructed sheet behind it. Import first.
const create = document.createElement.bind(document);

function standIn() {
  const element = create("i");
  const sheet = new CSSStyleSheet();
  let text = "";
  const attach = () => {
    if (!document.adoptedStyleSheets.includes(sheet)) document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  };
  element.hidden = true;
  Object.defineProperty(element, "textContent", {
    get: () => text,
    set(value) {
      text = String(value);
      sheet.replaceSync(text);
      attach();
    },
  });
  Object.defineProperty(element, "sheet", { get: () => sheet });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

document.createElement = (name, options) =>
  String(name).toLowerCase() === "style" ? standIn() : create(name, options);

const setAttribute = Element.prototype.setAttribute;
Element.prototype.setAttribute = function (name, value) {
  if (name === "style" && this.style) this.style.cssText = value;
  else setAttribute.call(this, name, value);
};
