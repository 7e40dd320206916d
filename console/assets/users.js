// All users, for a super user.
import {ask as request, call, element, keepFocus, make, name, segment, show, tell, url} from "./core.js";
import {ask, button, choice, field, showSecret} from "./dialog.js";
import {ago, date, empty, none, note, pager, table, title} from "./table.js";
import {badges, userMenu} from "./useractions.js";

const filters = element("filters");
const state = {now: "", next: "", before: []};
let searching = new AbortController();

// first returns the path of the first page for the filters, and puts the filters into the URL.
function first() {
  const query = new URLSearchParams([...new FormData(filters)].map(([key, value]) => [key, value.trim()]).filter(([, value]) => value));
  history.replaceState(null, "", location.pathname + (query.size ? `?${query}` : ""));
  if (!query.has("kind")) query.set("kind", "all");
  query.set("limit", "50");
  state.before = [];
  return `/auth/users?${query}`;
}

async function load(path) {
  searching.abort();
  searching = new AbortController();
  const {signal} = searching;
  await show(element("list"), async () => {
    const page = await request("GET", path, undefined, signal);
    state.now = path;
    state.next = page.next;
    pager(element("pager"), state, load);
    if (page.answer.length) return users(page.answer);
    return location.search
      ? empty("No user found", element("search").value ? "The search looks at the beginning of usernames and e-mail addresses." : "There is no such user.", button("Clear the filters", clear))
      : empty("No users yet", "Add the first user.", button("Add user", create));
  });
}

const again = () => load(state.now);

const users = (list) => table("Users", [
  {label: "User", cell: (user) => title(make("a", name(user.username), {href: url(`/users/${segment(user.user_id)}`)}), user.email ? note(name(user.email)) : "")},
  {label: "State", cell: (user) => make("span", badges(user), {class: "badges"})},
  {label: "Created", cell: (user) => date(user.created_at, "Unknown")},
  {label: "Last sign-in", cell: (user) => user.last_login ? ago(user.last_login) : none("Never")},
  {label: "", isMenu: true, cell: (user) => userMenu(user, again)},
], list);

function clear() {
  filters.reset();
  load(first());
  filters.elements[0].focus();
}

async function create() {
  const username = make("input", [], {name: "username", "data-refusal": "409", required: "", maxlength: "128", autocomplete: "off", autocapitalize: "none", spellcheck: "false"});
  const email = make("input", [], {name: "email", type: "email", maxlength: "254", autocomplete: "off"});
  const boxes = ["is_service", "is_super_user"].map((key) => make("input", [], {type: "checkbox", name: key}));
  const [service, power] = boxes;
  const pair = await ask({
    heading: "Add user",
    content: [
      field("Username", username),
      field("E-mail (optional)", email),
      make("div", [
        choice(service, "Service user", "A program. It signs in with access keys only."),
        choice(power, "Super user", "Can do everything with all users, and can read the audit trail."),
      ]),
    ],
    yes: "Add user",
    action: () => call("POST", "/auth/users/register", {
      username: username.value, email: email.value || undefined, is_super_user: power.checked, ...(service.checked ? {is_service: true} : {}),
    }),
  });
  if (!pair) return;
  await showSecret(["The access key of ", name(pair.username)], pair, "Give the access secret to the user now. It is not shown again.");
  await load(first());
  keepFocus();
  tell(`${pair.username} is added.`);
}

let typing;
filters.addEventListener("submit", (event) => { event.preventDefault(); load(first()); });
filters.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => load(first()), 200);
});
element("new-user").addEventListener("click", create);

for (const [key, value] of new URLSearchParams(location.search)) {
  if (["search", "state", "kind"].includes(key)) filters.elements[key].value = value;
}
load(first());
