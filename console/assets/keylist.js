// The list of the access keys of a user, and the dialogs that change keys.
import {call, keepFocus, make, name, segment, tell} from "./core.js";
import {ask, field, menu, options, showSecret} from "./dialog.js";
import {ago, badge, date, end, none, note, scopes, table, title} from "./table.js";

const nameOf = (key) => key.label || key.access_key;
const pathOf = (key) => `/auth/keys/${segment(key.access_key)}`;

// keyTable returns a table of keys. The function again is called after a change.
export function keyTable(keys, again) {
  return table("Access keys", [
    {label: "Key", cell: (key) => title([key.label ? name(key.label) : none("No label"), key.must_rotate ? [" ", badge("Must be rotated", "warn")] : []].flat(2), note(make("code", key.access_key)))},
    {label: "Scopes", cell: (key) => scopes(key.scopes)},
    {label: "Created", cell: (key) => date(key.created_at)},
    {label: "Last used", cell: (key) => ago(key.last_used_at)},
    {label: "Expires", cell: (key) => key.status === "Expired" ? badge("Expired", "bad") : end(key.expires_at)},
    {label: "", isMenu: true, cell: (key) => menu(nameOf(key), [
      {text: "Rotate secret…", run: () => rotate(key, again)},
      {text: "Revoke…", danger: true, run: () => revoke(key, again)},
    ])},
  ], keys);
}

async function rotate(key, again) {
  const overlap = options([["0", "Stops working at once"], ["3600", "Works for another hour"], ["86400", "Works for another day"], ["604800", "Works for another week"]], "86400");
  if (key.must_rotate) overlap.value = "0";
  overlap.name = "overlap_seconds";
  const pair = await ask({
    heading: ["Rotate the secret of ", name(nameOf(key))],
    content: [
      make("p", "The key gets a new secret. Its name, scopes and expiry stay."),
      field("The previous secret", overlap, "An overlap gives you the time to change the programs that use the key."),
    ],
    yes: "Rotate secret",
    action: () => call("POST", `${pathOf(key)}/rotate`, {overlap_seconds: Number(overlap.value)}),
  });
  if (!pair) return;
  await showSecret("The new secret", pair);
  await again();
  keepFocus();
}

async function revoke(key, again) {
  const done = await ask({
    heading: ["Revoke ", name(nameOf(key)), "?"],
    content: [make("p", ["Nothing can sign in with ", make("code", key.access_key), " any more, and the sessions that it opened end. This cannot be undone."])],
    yes: "Revoke key",
    danger: true,
    action: () => call("DELETE", pathOf(key)),
  });
  if (!done) return;
  await again();
  keepFocus();
  tell("The key is revoked.");
}
