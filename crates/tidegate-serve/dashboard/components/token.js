// The dialog that asks for a token when the job wants one.

import { h, setText } from "../dom.js";

/// `onToken(value)` is called with what was entered.
export function askForToken(onToken) {
  const input = h("input", { type: "password", id: "token", name: "token", required: true, autocomplete: "off", spellcheck: "false", "aria-describedby": "token-help token-error" });
  const error = h("p.form-error", { id: "token-error", role: "alert" });
  const submit = (event) => {
    event.preventDefault();
    if (input.value.trim() === "") return;
    onToken(input.value.trim());
    input.value = "";
  };
  const form = h("form.token-form", { onsubmit: submit },
    h("h2", { id: "token-title" }, "This job asks for a token"),
    h("p.quiet", { id: "token-help" }, "One with the role read, from the job’s [http] configuration. It stays in this tab and is forgotten when you close it."),
    h("label", { for: "token" }, "Token"), input, error,
    h("button.button.primary", { type: "submit" }, "Connect"));
  const element = h("dialog.dialog", { "aria-labelledby": "token-title" }, form);
  // There is nothing behind it to go back to.
  element.addEventListener("cancel", (event) => event.preventDefault());

  return {
    element,
    /// Opens it; `problem` says what was wrong with the token before.
    open(problem) {
      setText(error, problem ?? "");
      if (!element.open) element.showModal();
      input.focus();
    },
    close() {
      if (element.open) element.close();
    },
  };
}
