// All users, for a super user.
import {act, ask, button, call, card, clear, element, showAgain, tell, when} from "./core.js";
import {confirm, showSecretAndThen} from "./dialogs.js";

let next; // path of the next page of users

export async function showUsers() {
  clear("user-list");
  next = "/auth/users?limit=20";
  await showMore();
}

async function showMore() {
  const page = await ask("GET", next);
  next = page.next;
  element("user-list").append(...page.answer.map(userCard));
  element("more-users").hidden = !next;
}

export function clearUsers() {
  clear("user-list");
  element("new-user").reset();
}

function userCard(user) {
  const name = user.username;
  const path = `/auth/users/${encodeURIComponent(user.user_id)}`;
  const change = (text, of, wanted, said, question) => button(text, of, async () => {
    if (question && !await confirm(...question, text)) return;
    await done(said, () => call("PATCH", path, wanted));
  });
  const buttons = [];
  if (user.is_active) {
    buttons.push(
      change("Disable", name, {is_active: false}, `${name} is disabled.`,
        [`Disable ${name}?`, "All sessions end, and no key works until the user is enabled again."]),
      button("End sessions", `of ${name}`, async () => {
        if (!await confirm(`End the sessions of ${name}?`, "The user is signed out everywhere, and can sign in again.", "End sessions")) return;
        await done(`The sessions of ${name} have ended.`, () => call("POST", `/auth/tokens/revoke-user/${encodeURIComponent(user.user_id)}`));
      }),
    );
  } else {
    buttons.push(
      change("Enable", name, {is_active: true}, `${name} is enabled.`),
      button("Reinstate", `${name} with new credentials`, () => replace(name, "reinstated", `${path}/reinstate`)),
    );
  }
  buttons.push(
    user.is_super_user
      ? change("Make a plain user", `of ${name}`, {is_super_user: false}, `${name} is no super user any more.`,
        [`Make ${name} a plain user?`, "The user can then not look after other users any more."])
      : change("Make a super user", `of ${name}`, {is_super_user: true}, `${name} is a super user.`),
    button("New credentials", `for ${name}`, () => replace(name, "given new credentials", `${path}/regenerate-credentials`)),
    button("Delete", name, async () => {
      if (!await confirm(`Delete ${name}?`, "The user, all keys and all sessions are gone for good, and nobody gets the name again.", "Delete")) return;
      await done(`${name} is deleted.`, () => call("DELETE", path));
    }),
  );
  return card(name, [
    ["E-mail", user.email ?? "none"],
    ["Role", user.is_super_user ? "Super user" : "User"],
    ["Status", user.is_active ? "Active" : "Disabled"],
    ["Since", when(user.created_at)],
    ["Last sign-in", when(user.last_login)],
  ], buttons);
}

// done makes a change, shows the new state, and then tells the user. If the changed
// user is the caller, the list may be gone, or the caller may be signed out.
async function done(said, action) {
  await action();
  await showAgain();
  for (const id of ["signed-in-heading", "users-heading"]) if (element(id).checkVisibility()) element(id).focus();
  tell(said);
}

async function replace(name, what, path) {
  if (!await confirm(`New credentials for ${name}?`, "Every key, session and GitHub account of the user is gone then, and one new key signs in.", "Go on")) return;
  const pair = await call("POST", path);
  element("users-heading").focus();
  await showSecretAndThen(`${name} is ${what}`, pair, showUsers);
}

element("more-users").addEventListener("click", () => act(async () => {
  const shown = element("user-list").children.length;
  await showMore();
  element("user-list").children[shown].querySelector("button").focus();
}));

element("new-user").addEventListener("submit", (event) => {
  event.preventDefault();
  act(async () => {
    const pair = await call("POST", "/auth/users/register", {
      username: element("new-username").value, email: element("new-email").value || undefined, is_super_user: element("new-super").checked,
    });
    event.target.reset();
    element("users-heading").focus();
    await showSecretAndThen(`${pair.username} is registered`, pair, showUsers);
  }, event.target);
});
