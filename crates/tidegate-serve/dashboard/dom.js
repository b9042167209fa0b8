// Making and changing elements. Whatever comes from the server goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/// An element: `h("div.card", {id: "x", onclick: f, style: {"--share": 0.5}}, "text", child, …)`.
/// Properties that are null or false are left out, and so are such children.
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length > 0) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") setStyle(element, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

/// Replaces what is in an element.
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

/// Sets an element's text, and touches the document only when it is another one.
export function setText(element, text) {
  const wanted = String(text ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
}

/// Sets an attribute, or takes it away when the value is null, undefined or false.
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/// Sets properties through the style object, which a strict Content-Security-Policy allows.
export function setStyle(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, value);
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

const PATHS = {
  good: "M4 12.5l5 5L20 6.5",
  warn: "M12 3.5L22 20.5H2zM12 10v4.5M12 17.2v.3",
  bad: "M12 7v6M12 16.7v.3M12 2.5a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19z",
  info: "M12 11v6M12 7v.3M12 2.5a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19z",
  light: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2.5M12 19.5V22M2 12h2.5M19.5 12H22M5 5l1.8 1.8M17.2 17.2L19 19M5 19l1.8-1.8M17.2 6.8L19 5",
  dark: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  system: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  table: "M3 5h18v14H3zM3 10h18M3 14.5h18M9.5 5v14",
  chart: "M3 4v16h18M7 15l4-5 3.5 3L20 7",
  close: "M5 5l14 14M19 5L5 19",
  open: "M9 5l7 7-7 7",
};

/// A line icon; it says nothing to a screen reader, so that there has to be text beside it.
export function icon(name, size = 16) {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true", focusable: "false", class: `icon icon-${name}` };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
