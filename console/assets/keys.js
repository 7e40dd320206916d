// The access keys of the user.
import {call, element, keepFocus, make, show} from "./core.js";
import {ask, button, choice, field, options, showSecret} from "./dialog.js";
import {keyTable} from "./keylist.js";
import {empty} from "./table.js";

const list = element("list");

const load = () => show(list, async () => {
  const keys = await call("GET", "/auth/keys");
  if (keys.length) return keyTable(keys, load);
  return empty("No access keys yet", "Make a key for a program that calls this service for you, such as a script or your CI.", button("New access key", create));
});

const expiries = [["30", "30 days"], ["90", "90 days (suggested)"], ["365", "1 year"], ["day", "A day that you choose…"], ["", "Never"]];

// expiry returns the fields for the expiry, and a function that returns the chosen time.
function expiry() {
  const select = options(expiries, "90");
  const day = make("input", [], {type: "date", name: "expires_at", min: new Date(Date.now() + 86_400_000).toISOString().slice(0, 10)});
  const chosen = field("Last day", day);
  chosen.hidden = true;
  select.addEventListener("change", () => {
    chosen.hidden = select.value !== "day";
    day.required = !chosen.hidden;
    if (!chosen.hidden) day.focus();
  });
  const value = () => {
    if (select.value === "day") return `${day.value}T23:59:59Z`;
    return select.value ? new Date(Date.now() + select.value * 86_400_000).toISOString().replace(/\.\d+Z$/, "Z") : undefined;
  };
  return {content: [make("div", [field("Expires", select, "A key that expires limits the damage if its secret leaks."), chosen])], value};
}

// scopeChoice returns the fields for the scopes, and a function that returns the chosen ones.
function scopeChoice() {
  const boxes = element("scopes").content.cloneNode(true);
  if (!boxes.children.length) return {content: [], value: () => undefined};
  const all = make("input", [], {type: "radio", name: "limit", value: "", checked: ""});
  const some = make("input", [], {type: "radio", name: "limit", value: "some"});
  const list = make("div", boxes, {class: "choices"});
  list.hidden = true;
  const inputs = [...list.querySelectorAll("input")];
  const check = () => {
    list.hidden = !some.checked;
    const missing = some.checked && !inputs.some((input) => input.checked);
    some.setCustomValidity(missing ? "Choose at least one scope." : "");
  };
  for (const input of [all, some, ...inputs]) input.addEventListener("change", check);
  const content = make("fieldset", [
    make("legend", "What the key may do"),
    choice(all, "Everything that you may do"),
    choice(some, "Only what you choose", "Recommended for programs."),
    list,
  ]);
  return {content: [content], value: () => some.checked ? inputs.filter((input) => input.checked).map((input) => input.value) : undefined};
}

async function create() {
  const label = make("input", [], {name: "label", maxlength: "256", autocomplete: "off", placeholder: "Backup script"});
  const until = expiry(), may = scopeChoice();
  const pair = await ask({
    heading: "New access key",
    content: [field("Label", label, "The name of the program that will use the key."), ...until.content, ...may.content],
    yes: "Create key",
    action: () => call("POST", "/auth/keys", {label: label.value || undefined, expires_at: until.value(), scopes: may.value()}),
  });
  if (!pair) return;
  await showSecret("Your new access key", pair);
  await load();
  keepFocus();
}

element("new-key").addEventListener("click", create);
load();
