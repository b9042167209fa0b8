// A titled panel.

import { h } from "../dom.js";

let ids = 0;

/// A section with a heading; `aside` stands at the end of the heading's line, `sub` below it.
export function card({ title, sub, aside, wide = false }, ...children) {
  ids += 1;
  const id = `card-${ids}`;
  return h("section.card", { "aria-labelledby": id, "data-wide": wide ? "" : null },
    h("div.card-head", {}, h("div", {}, h("h2", { id }, title), sub ? h("p.card-sub", {}, sub) : null), aside ? h("div.card-aside", {}, aside) : null),
    children);
}

/// A page: its heading, the things beside it, and its content.
export function page(title, aside, ...children) {
  return h("div.page", {}, h("div.page-head", {}, h("h1", { tabindex: "-1" }, title), aside), children);
}
