// What a super user can do with a user.
import {call, keepFocus, make, name, page, segment, tell} from "./core.js";
import {ask, menu, showSecret} from "./dialog.js";
import {badge} from "./table.js";

const pathOf = (user) => `/auth/users/${segment(user.user_id)}`;

export function badges(user) {
  const list = [];
  if (user.is_super_user) list.push(badge("Super user"));
  if (user.is_service) list.push(badge("Service"));
  list.push(user.is_active ? badge("Active", "good") : badge("Disabled", "bad"));
  return list;
}

// userMenu returns a menu of actions. The function again is called after a change, and gone after
// the user was deleted.
export function userMenu(user, again, gone = again, text = undefined) {
  const who = user.username;
  const change = async (wanted, said, question) => {
    const done = await ask({...question, action: () => call("PATCH", pathOf(user), wanted)});
    await finish(done, user.user_id === page.user ? () => location.reload() : again, said); // the pages change
  };
  const plain = [], dangerous = []; // an action is dangerous if its question is
  if (user.is_super_user) dangerous.push({text: "Make a plain user…", run: () => change({is_super_user: false}, `${who} is a plain user now.`, {heading: ["Make ", name(who), " a plain user?"], content: [make("p", "The user can then no longer manage other users.")], yes: "Make a plain user", danger: true})});
  else plain.push({text: "Make a super user…", run: () => change({is_super_user: true}, `${who} is a super user now.`, {heading: ["Make ", name(who), " a super user?"], content: [make("p", "A super user can do everything with all users, and can read the audit trail.")], yes: "Make a super user"})});
  dangerous.push({text: "Revoke all sessions…", run: () => revokeSessions(user, again)});
  dangerous.push({text: "Replace credentials…", run: () => replace(user, again)});
  if (user.is_active) dangerous.push({text: "Disable…", run: () => change({is_active: false}, `${who} is disabled.`, {heading: ["Disable ", name(who), "?"], content: [make("p", "All sessions end, and no access key works until the user is enabled again.")], yes: "Disable", danger: true})});
  else plain.push({text: "Enable…", run: () => change({is_active: true}, `${who} is enabled.`, {heading: ["Enable ", name(who), "?"], content: [make("p", "The user can sign in again, and the access keys work again.")], yes: "Enable"})});
  dangerous.push({text: "Delete…", run: () => remove(user, gone)});
  const list = [...plain, ...plain.length ? [null] : [], ...dangerous.map((action) => ({...action, danger: true}))];
  return menu(who, list, text);
}

async function finish(done, again, said) {
  if (!done) return;
  await again();
  keepFocus();
  tell(said);
}

async function revokeSessions(user, again) {
  const done = await ask({
    heading: ["Revoke all sessions of ", name(user.username), "?"],
    content: [make("p", "The user is signed out everywhere, and can sign in again.")],
    yes: "Revoke all sessions",
    danger: true,
    action: () => call("POST", `/auth/tokens/revoke-user/${segment(user.user_id)}`),
  });
  await finish(done, again, `The sessions of ${user.username} are revoked.`);
}

async function replace(user, again) {
  const pair = await ask({
    heading: ["Replace the credentials of ", name(user.username), "?"],
    content: [make("p", `All access keys, sessions and the GitHub account of the user are removed, and the user gets one new access key.${user.is_active ? "" : " The user is enabled, too."}`)],
    yes: "Replace credentials",
    danger: true,
    action: () => call("POST", `${pathOf(user)}/${user.is_active ? "regenerate-credentials" : "reinstate"}`),
  });
  if (!pair) return;
  await showSecret(["The new access key of ", name(user.username)], pair, "Give the access secret to the user now. It is not shown again.");
  await finish(pair, again, `${user.username} has new credentials.`);
}

async function remove(user, gone) {
  const typed = make("input", [], {autocomplete: "off", autocapitalize: "none", spellcheck: "false", required: ""});
  const label = make("label", ["Type ", name(user.username), " to confirm"], {for: "typed-name"});
  typed.id = "typed-name";
  const check = () => typed.setCustomValidity(typed.value === user.username ? "" : `Type ${user.username} to confirm.`);
  typed.addEventListener("input", check);
  check();
  const done = await ask({
    heading: ["Delete ", name(user.username), "?"],
    content: [
      make("p", "The user, all access keys and all sessions are removed. The username stays reserved. This cannot be undone."),
      make("div", [label, typed], {class: "field"}),
    ],
    yes: "Delete user",
    danger: true,
    action: () => call("DELETE", pathOf(user)),
  });
  await finish(done, gone, `${user.username} is deleted.`);
}

