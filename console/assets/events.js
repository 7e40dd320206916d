// The audit trail, for a super user.
import {ask, element, make, page, Refusal, show} from "./core.js";
import {button} from "./dialog.js";
import {eventTable, kinds} from "./eventlist.js";
import {empty, pager} from "./table.js";

const filters = element("filters");
const state = {now: "", next: "", before: []};
let searching = new AbortController();

for (const [kind, text] of [...kinds].sort((a, b) => a[1].localeCompare(b[1]))) element("kind").append(make("option", text, {value: kind}));

// first returns the path of the first page for the filters, and puts the filters into the URL.
function first() {
  const chosen = new URLSearchParams([...new FormData(filters)].map(([key, value]) => [key, value.trim()]).filter(([, value]) => value));
  history.replaceState(null, "", location.pathname + (chosen.size ? `?${chosen}` : ""));
  const query = new URLSearchParams(chosen);
  // The days are those of the user's time zone. The last day is included.
  if (chosen.has("from")) query.set("from", new Date(`${chosen.get("from")}T00:00`).toISOString());
  if (chosen.has("to")) {
    const end = new Date(`${chosen.get("to")}T00:00`);
    end.setDate(end.getDate() + 1);
    query.set("to", end.toISOString());
  }
  query.set("limit", "50");
  state.before = [];
  return `/auth/events?${query}`;
}

// withID returns the path with the ID of the user whom the filter names by ID, username or e-mail address. A
// user can choose a username that is the e-mail address or the ID of another user. So a text that names two
// users is refused, and "id:" before an ID excludes names.
async function withID(path, signal) {
  const [base, query] = path.split("?"), parameters = new URLSearchParams(query), user = parameters.get("user");
  if (!user) return path;
  parameters.delete("user");
  parameters.set("user_id", user.replace(/^id:/, ""));
  if (page.users && !/^([A-Z2-7]{26}$|id:)/.test(user)) {
    const search = new URLSearchParams({search: user, kind: "all", limit: "200"});
    const {answer} = await ask("GET", `/auth/users?${search}`, undefined, signal);
    const isUser = (name) => name?.toLowerCase() === user.toLowerCase();
    const found = answer.filter(({username, email}) => isUser(username) || isUser(email));
    if (found.length > 1) throw new Refusal(0, "This is the username of one user and the e-mail address of another. Write id: and the ID of the user.");
    if (found.length) parameters.set("user_id", found[0].user_id);
  }
  return `${base}?${parameters}`;
}

async function load(path) {
  searching.abort();
  searching = new AbortController();
  const {signal} = searching;
  await show(element("list"), async () => {
    const found = await ask("GET", await withID(path, signal), undefined, signal);
    state.now = path;
    state.next = found.next;
    pager(element("pager"), state, load);
    if (found.answer.length) return eventTable(found.answer);
    return location.search
      ? empty("No event found", "No event matches the filters.", button("Clear the filters", () => { filters.reset(); refresh(); element("user").focus(); }))
      : empty("No events yet", "Lasting changes appear here, such as new users and access keys.");
  });
}

// refresh loads the events for the filters. While a day is not valid, such as a year of which only the
// first digits are typed, it says so instead of asking the service.
function refresh() {
  element("to").min = element("from").value || element("from").min;
  const wrong = filters.querySelector("input:invalid");
  if (!wrong) return load(first());
  searching.abort();
  element("pager").replaceChildren();
  return show(element("list"), async () => empty("No events are selected", wrong.validationMessage));
}

let typing;
filters.addEventListener("submit", (event) => { event.preventDefault(); refresh(); });
filters.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(refresh, 250);
});

for (const [key, value] of new URLSearchParams(location.search)) {
  if (["user", "kind", "from", "to"].includes(key)) filters.elements[key].value = value;
}
refresh();
