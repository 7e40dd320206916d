// The caller's access keys.
import {act, button, call, card, clear, element, make, tell, when} from "./core.js";
import {chooseOverlap, confirm, showSecretAndThen} from "./dialogs.js";

const nameOf = (key) => key.label || key.access_key;
const pathOf = (key) => `/auth/keys/${encodeURIComponent(key.access_key)}`;

export async function showKeys() {
  const keys = await call("GET", "/auth/keys");
  element("key-list").replaceChildren(...keys.map((key) => card(nameOf(key), [
    ["Access key", make("code", key.access_key)],
    ["Status", key.status],
    ["Made", when(key.created_at)],
    ["Ends", when(key.expires_at)],
    ["Last used", when(key.last_used_at)],
    ["May do", key.scopes ? key.scopes.join(", ") || "nothing" : "everything"],
  ], [
    button("New secret", `for ${nameOf(key)}`, () => rotate(key)),
    button("Revoke", nameOf(key), () => revoke(key)),
  ])));
}

export const clearKeys = () => { clear("key-list"); element("new-key").reset(); };

async function rotate(key) {
  const overlap = await chooseOverlap(nameOf(key));
  if (overlap === undefined) return;
  const pair = await call("POST", `${pathOf(key)}/rotate`, {overlap_seconds: overlap});
  element("keys-heading").focus(); // the dialog returns the focus here
  await showSecretAndThen("The new secret", pair, showKeys);
}

async function revoke(key) {
  if (!await confirm("Revoke this key?", `Nothing signs in with ${nameOf(key)} any more, and the sessions that it opened end.`, "Revoke")) return;
  await call("DELETE", pathOf(key));
  await showKeys();
  element("keys-heading").focus();
  tell("The key is revoked.");
}

element("new-key").addEventListener("submit", (event) => {
  event.preventDefault();
  act(async () => {
    const wanted = {};
    if (element("new-key-label").value) wanted.label = element("new-key-label").value;
    if (element("new-key-end").value) wanted.expires_at = `${element("new-key-end").value}T23:59:59Z`;
    if (element("new-key-scopes").value) wanted.scopes = element("new-key-scopes").value.split(" ");
    const pair = await call("POST", "/auth/keys", wanted);
    event.target.reset();
    element("keys-heading").focus();
    await showSecretAndThen("The new key", pair, showKeys);
  }, event.target);
});
