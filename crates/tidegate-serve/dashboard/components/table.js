// A table that is updated in place, so that a selection or the scroll position stays.

import { fill, h, setAttribute, setText } from "../dom.js";

/// `columns`: `{title, value(row), number, hint(row), draw(cell, row)}`; `value` gives text. `caption` is for screen
/// readers unless `captionShown`. `empty` is what an empty table says.
export function table({ caption, captionShown = false, columns, empty = "Nothing yet." }) {
  const head = h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : null }, column.title)));
  const body = h("tbody");
  // What scrolls has to be reachable by the keyboard.
  const element = h("div.table-wrap", { tabindex: "0", role: "group", "aria-label": caption },
    h("table", {}, h("caption", { class: captionShown ? null : "unseen" }, caption), h("thead", {}, head), body));
  const nothing = h("tr", {}, h("td.quiet", { colspan: columns.length }, empty));

  const rowOf = (tr, row) => {
    columns.forEach((column, index) => {
      const cell = tr.children[index];
      if (column.draw) column.draw(cell, row);
      else setText(cell, column.value(row));
      if (column.hint) setAttribute(cell, "title", column.hint(row));
    });
  };
  const newRow = () => h("tr", {}, columns.map((column, index) => h(index === 0 ? "th" : "td", { scope: index === 0 ? "row" : null, class: column.number ? "number" : null })));

  return {
    element,
    update(rows) {
      if (rows.length === 0) {
        fill(body, nothing);
        return;
      }
      nothing.remove();
      while (body.children.length > rows.length) body.lastChild.remove();
      while (body.children.length < rows.length) body.append(newRow());
      rows.forEach((row, index) => rowOf(body.children[index], row));
    },
  };
}
