// Hash routes: which page is shown, and what a screen reader and the title say about it.

import { fill, setAttribute } from "./dom.js";

let current = null;

/// Shows the page of the address, and follows it. `pages`: name to `{title, mount}`, where `mount(root)` fills the
/// root and returns what ends the page. The first is shown for an address that names none.
export function start(pages, main, links) {
  const show = (focus) => {
    const name = nameOf(location.hash, pages);
    if (current?.name === name) return;
    current?.unmount();
    for (const link of links) setAttribute(link, "aria-current", link.dataset.page === name ? "page" : null);
    document.title = `${pages[name].title} · Tidegate`;
    fill(main);
    main.dataset.page = name;
    current = { name, unmount: pages[name].mount(main) };
    scrollTo(0, 0);
    if (focus) main.querySelector("h1")?.focus({ preventScroll: true });
  };
  addEventListener("hashchange", () => {
    // The skip link's own target is not a page.
    if (location.hash.startsWith("#/")) show(true);
  });
  show(false);
}

function nameOf(hash, pages) {
  const name = hash.replace(/^#\//, "").split(/[?/]/)[0];
  return Object.hasOwn(pages, name) ? name : Object.keys(pages)[0];
}
