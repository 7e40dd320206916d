// Dialogs and menus. The browser keeps the focus in an open dialog. When the dialog closes, the
// browser returns the focus.
import {act, keepFocus, make} from "./core.js";

let count = 0;

// button returns a button. The parameter "of" names what the button acts on. The page hides this
// name, but a screen reader reads it.
export function button(text, action, {of = "", look = ""} = {}) {
  const made = make("button", of ? [text, make("span", ` ${of}`, {class: "unseen"})] : text, {type: "button", class: `button ${look}`});
  made.addEventListener("click", action);
  return made;
}

function frame(heading, content, attributes) {
  const id = `dialog-${++count}`;
  const form = make("form", [
    make("h2", heading, {id: `${id}-heading`}),
    make("p", [], {class: "message bad", role: "alert"}),
    ...content,
  ], {class: "dialog-body", method: "dialog", novalidate: ""});
  const dialog = make("dialog", form, {"aria-labelledby": `${id}-heading`, ...attributes});
  return {dialog, form};
}

function open(dialog) {
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue); }, {once: true});
  });
}

// ask opens a dialog with a form. The button runs the action with the values of the form. The
// dialog stays open if the action fails, and shows the error. The result is that of the action, or
// undefined if the user cancels.
//
// While the action runs, the user cannot cancel, because the service makes the change anyway: the page
// would not show a new secret. The browser closes the dialog at a second Escape all the same, so ask waits
// for the action.
export async function ask({heading, content, yes, danger = false, action}) {
  const submit = make("button", yes, {class: danger ? "button danger fill" : "button primary"});
  const cancel = make("button", "Cancel", {class: "button", type: "button"});
  const {dialog, form} = frame(heading, [...content, make("div", [cancel, submit], {class: "dialog-actions"})], danger ? {role: "alertdialog"} : {});
  let result, running;
  cancel.addEventListener("click", () => { if (!running) dialog.close(); });
  dialog.addEventListener("cancel", (event) => { if (running) event.preventDefault(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!complete(form)) return;
    if (running) return;
    submit.setAttribute("aria-busy", "true");
    cancel.setAttribute("aria-disabled", "true");
    running = act(async () => { result = await action(new FormData(form)) ?? true; }, form);
    const done = await running;
    running = undefined;
    submit.removeAttribute("aria-busy");
    cancel.removeAttribute("aria-disabled");
    if (done) dialog.close();
  });
  const closed = open(dialog);
  if (danger) cancel.focus();
  await closed;
  await running;
  return result;
}

// complete reports whether all fields are filled in as they must be. The browser shows its own
// message at the first field that is not.
const complete = (form) => form.reportValidity();

// field returns a field with a label, and an optional hint.
export function field(label, input, hint) {
  const id = `field-${++count}`;
  input.id = id;
  const parts = [make("label", label, {for: id}), input];
  if (hint) {
    input.setAttribute("aria-describedby", `${id}-hint`);
    parts.push(make("p", hint, {id: `${id}-hint`, class: "hint"}));
  }
  return make("div", parts, {class: "field"});
}

// choice returns a checkbox or radio button with a label.
export function choice(input, label, hint) {
  return make("label", [input, make("span", hint ? [label, make("span", hint, {class: "hint"})] : label)], {class: "choice"});
}

export function options(list, chosen) {
  return make("select", list.map(([value, text]) => make("option", text, value === chosen ? {value, selected: ""} : {value})));
}

// showSecret shows a new pair while the dialog is open. After that, the secret is nowhere in the
// page. The first Escape does not close the dialog if nothing was copied yet, because the secret is
// the only copy.
export async function showSecret(heading, pair, text = "Store the access secret now. It is not shown again.") {
  const said = make("p", [], {role: "status", class: "hint"});
  const done = make("button", "Done", {class: "button primary", type: "button"});
  let kept = false;
  const line = (label, value) => {
    const copy = button("Copy", async () => {
      try {
        await navigator.clipboard.writeText(value);
        said.textContent = `The ${label.toLowerCase()} is copied.`;
        kept = true;
      } catch {
        said.textContent = "The browser does not allow it. Select the text and copy it.";
      }
    }, {of: label, look: "small"});
    return make("div", [make("p", label, {class: "hint"}), make("div", [make("code", value), copy], {class: "secret"})]);
  };
  const download = button("Download .env", () => {
    const text = `ACCESS_KEY=${pair.access_key}\nACCESS_SECRET=${pair.access_secret}\n`;
    const link = make("a", [], {download: "access-key.env", href: URL.createObjectURL(new Blob([text], {type: "text/plain"}))});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    said.textContent = "The file access-key.env is saved. Keep it like a password.";
    kept = true;
  });
  const {dialog} = frame(heading, [
    make("p", text, {class: "message warn"}),
    line("Access key", pair.access_key),
    line("Access secret", pair.access_secret),
    said,
    make("div", [download, done], {class: "dialog-actions"}),
  ], {class: "secret-dialog"});
  done.addEventListener("click", () => dialog.close());
  dialog.addEventListener("cancel", (event) => {
    if (kept) return;
    event.preventDefault();
    kept = true;
    said.textContent = "Copy or save the secret first. Press Escape again to close without it.";
  });
  await open(dialog);
}

// menu returns a button that opens a list of actions. An action is null for a line, or
// {text, run, danger}.
export function menu(of, actions, text = "⋯") {
  const id = `menu-${++count}`;
  const list = make("div", [], {id, class: "menu", popover: ""});
  const opener = make("button", text === "⋯" ? [make("span", text, {class: "dots", "aria-hidden": "true"}), make("span", `Actions for ${of}`, {class: "unseen"})] : [text, make("span", ` for ${of}`, {class: "unseen"})],
    {type: "button", class: text === "⋯" ? "button quiet icon-button" : "button", popovertarget: id, "aria-expanded": "false"});
  for (const action of actions) {
    if (!action) {
      list.append(make("hr"));
      continue;
    }
    const item = make("button", action.text, {type: "button", class: action.danger ? "danger" : ""});
    item.addEventListener("click", async () => {
      list.hidePopover();
      opener.focus();
      await action.run();
      keepFocus();
    });
    list.append(item);
  }
  // The event toggle comes later than the menu opens. Until then the menu is not in its place, and a
  // click would miss it.
  list.addEventListener("beforetoggle", () => { list.style.visibility = "hidden"; });
  list.addEventListener("toggle", (event) => {
    const isOpen = event.newState === "open";
    opener.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    place(list, opener);
    list.style.visibility = "";
    list.querySelector("button").focus();
  });
  list.addEventListener("keydown", (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (!step) return;
    event.preventDefault();
    const items = [...list.querySelectorAll("button")];
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
  });
  return [opener, list];
}

// place puts an open menu below its opener, or above it if there is more room.
function place(list, opener) {
  const at = opener.getBoundingClientRect(), size = list.getBoundingClientRect();
  const below = at.bottom + 4 + size.height <= innerHeight || at.top < size.height;
  list.style.top = `${below ? at.bottom + 4 : at.top - 4 - size.height}px`;
  list.style.left = `${Math.max(8, Math.min(at.right - size.width, innerWidth - size.width - 8))}px`;
}

// An open menu moves with its opener. It must not close: the page can still scroll to the opener when
// somebody opens the menu with the keyboard.
addEventListener("scroll", () => {
  const list = document.querySelector(".menu:popover-open");
  if (list) place(list, document.querySelector(`[popovertarget="${list.id}"]`));
}, {passive: true});
