// The page of one user, for a super user.
import {call, element, keepFocus, leave, name, page, segment, show, tell, url, make} from "./core.js";
import {ask, button, field} from "./dialog.js";
import {eventTable} from "./eventlist.js";
import {keyTable} from "./keylist.js";
import {sessionTable} from "./sessionlist.js";
import {ago, date, empty, facts, none} from "./table.js";
import {badges, userMenu} from "./useractions.js";

const path = `/auth/users/${segment(page.id)}`;

// read returns the user. If there is none, it hides all other parts of the page, and returns null.
async function read() {
  try {
    return await call("GET", path);
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    for (const section of document.querySelectorAll("main > section + section")) section.hidden = true;
    for (const id of ["badges", "user-menu", "profile-heading"]) element(id).hidden = true;
    element("title").textContent = "User";
    return null;
  }
}

const profile = () => show(element("profile"), async () => {
  const user = await read();
  if (!user) return empty("There is no such user", "The user was deleted, or the address is wrong.");
  element("title").replaceChildren(name(user.username));
  document.title = `${user.username} · ${document.title.split(" · ").at(-1)}`;
  element("badges").replaceChildren(...badges(user));
  element("user-menu").replaceChildren(
    button("Rename…", () => rename(user)), ...userMenu(user, all, () => leave(url("/users"), "deleted"), "More actions"));
  const list = [
    ["E-mail", user.email ? name(user.email) : none("None")],
    ["Created", date(user.created_at, "Unknown")],
    ["Last sign-in", ago(user.last_login)],
    ["User ID", make("code", user.user_id)],
  ];
  if (user.audiences?.length) list.push(["Audiences", user.audiences.join(", ")]);
  if (user.created_by) list.push(["Created by", make("code", user.created_by)]);
  return facts(list);
});

const keys = () => show(element("keys"), async () => {
  const list = await call("GET", `${path}/keys`);
  return list.length ? keyTable(list, all) : empty("No access keys", "This user cannot sign in with an access key.");
});

const sessions = () => show(element("sessions"), async () => {
  const list = await call("GET", `${path}/sessions`);
  return list.length ? sessionTable(list, all) : empty("No sessions", "This user is not signed in anywhere.");
});

const events = () => element("events") && show(element("events"), async () => {
  const list = await call("GET", `/auth/events?user_id=${encodeURIComponent(page.id)}&limit=20`);
  if (!list.length) return empty("No events", "The audit trail has nothing about this user.");
  if (!page.events) return eventTable(list, false);
  const more = make("p", make("a", "All events of this user", {href: url(`/events?user=${encodeURIComponent(`id:${page.id}`)}`)}), {class: "list-note"});
  return [eventTable(list, false), more];
});

const all = () => Promise.all([profile(), keys(), sessions(), events()]);

async function rename(user) {
  const username = make("input", [], {name: "username", "data-refusal": "409", required: "", maxlength: "128", autocomplete: "off", autocapitalize: "none", spellcheck: "false"});
  const email = make("input", [], {name: "email", type: "email", maxlength: "254", autocomplete: "off"});
  username.value = user.username;
  email.value = user.email ?? "";
  const done = await ask({
    heading: ["Rename ", name(user.username)],
    content: [field("Username", username, "The earlier name stays taken, so that nobody else can get it."), field("E-mail (optional)", email)],
    yes: "Save",
    action: async () => {
      const change = {};
      if (username.value !== user.username) change.username = username.value;
      if (email.value !== (user.email ?? "")) change.email = email.value || null;
      if (Object.keys(change).length) await call("PATCH", path, change);
    },
  });
  if (!done) return;
  await all();
  keepFocus();
  tell("The changes are saved.");
}

all();
