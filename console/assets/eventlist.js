// The list of events of the audit trail.
import {make, name, page, segment, url} from "./core.js";
import {address, badge, client, exact, none, note, table, title} from "./table.js";

// kinds are the kinds of events in the audit trail, with what happened.
export const kinds = new Map([
  ["user.created", "User created"], ["user.changed", "User changed"], ["user.reset", "Credentials replaced"], ["user.deleted", "User deleted"],
  ["user.imported", "Users imported"], ["user.sessions_revoked", "All sessions revoked"], ["key.issued", "Access key created"],
  ["key.imported", "Access key imported"], ["key.rotated", "Access key rotated"], ["key.changed", "Access key changed"],
  ["key.revoked", "Access key revoked"], ["key.expiring", "Access key expires soon"], ["key.leaked", "Leaked key revoked"],
  ["session.revoked", "Session revoked"], ["sign_in.new_client", "Sign-in from a new client"], ["device.approved", "Device approved"], ["device.denied", "Device denied"], ["github.connected", "GitHub connected"],
  ["github.disconnected", "GitHub disconnected"], ["github.unlinked", "GitHub unlinked"], ["github.lost", "GitHub token lost"],
  ["github.forgotten", "GitHub account forgotten"], ["super_user.bootstrapped", "First super user created"],
  ["super_user.recovered", "Super user recovered"], ["everybody.sessions_revoked", "All sessions of all users revoked"],
  ["store.commits_lost", "Commits of the store lost"],
]);

const grave = new Set(["user.deleted", "user.reset", "key.leaked", "super_user.recovered", "everybody.sessions_revoked", "store.commits_lost"]);

// person shows the first characters of an ID, because the audit trail has no names.
function person(id) {
  if (!id) return none("–");
  if (id === page.user) return make("span", "You");
  const short = make("code", id.length > 12 ? `${id.slice(0, 10)}…` : id, {title: id});
  return page.users ? make("a", short, {href: url(`/users/${segment(id)}`)}) : short;
}

// eventTable returns a table of events.
export function eventTable(events, withUser = true) {
  const columns = [
    {label: "Event", cell: (event) => title([kinds.get(event.kind) ?? name(event.kind), grave.has(event.kind) ? [" ", badge("Important", "warn")] : []].flat(2), note(details(event)))},
    {label: "User", cell: (event) => person(event.user_id)},
    {label: "By", cell: (event) => event.actor_id ? person(event.actor_id) : [badge("Service"), event.host ? note(name(event.host)) : ""]},
    {label: "From", cell: (event) => event.ip || event.user_agent ? [event.ip ? address(event.ip) : "", event.user_agent ? note(client(event.user_agent)) : ""] : none("–")},
    {label: "Time", cell: (event) => exact(event.at)},
  ];
  if (!withUser) columns.splice(1, 1);
  return table("Events", columns, events);
}

function details(event) {
  const parts = [];
  if (event.access_key) parts.push(make("code", event.access_key));
  if (event.github) parts.push(`GitHub account ${event.github.id ?? ""}`.trim());
  if (event.reason) parts.push(name(event.reason));
  return parts.flatMap((part, i) => i ? [" · ", part] : [part]);
}
