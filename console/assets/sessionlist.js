// The list of the sessions of a user.
import {call, keepFocus, make, name, segment, tell} from "./core.js";
import {ask, button} from "./dialog.js";
import {address, ago, badge, client, date, method, note, table, title} from "./table.js";

// sessionTable returns a table of sessions, with a note if it may not have all of them. The function
// again is called after a change.
export function sessionTable(sessions, again) {
  const rows = table("Sessions", [
    {label: "Client", cell: (session) => title([client(session.user_agent), session.current ? [" ", badge("This one", "good")] : []].flat(2), session.audience ? note(["For ", name(session.audience)]) : "")},
    {label: "Signed in with", cell: (session) => method(session.method)},
    {label: "Address", cell: (session) => address(session.ip)},
    {label: "Signed in", cell: (session) => ago(session.created_at)},
    {label: "Expires", cell: (session) => ago(session.expires_at)},
    {label: "", cell: (session) => session.current ? [] : [revokeButton(session, again)]},
  ], sessions);
  if (sessions.length < 100) return [rows];
  return [rows, make("p", "These are the newest 100 sessions. There may be more.", {class: "hint list-note"})];
}

function revokeButton(session, again) {
  const of = client(session.user_agent);
  return button("Revoke…", async () => {
    const done = await ask({
      heading: ["Revoke the session of ", client(session.user_agent), "?"],
      content: [make("p", ["The program is signed out. It was signed in on ", date(session.created_at), session.ip ? [" from ", make("code", session.ip)] : [], "."].flat())],
      yes: "Revoke session",
      danger: true,
      action: () => call("DELETE", `/auth/sessions/${segment(session.id)}`),
    });
    if (!done) return;
    await again();
    keepFocus();
    tell("The session is revoked.");
  }, {of: `the session of ${of.textContent ?? of}`, look: "danger small"});
}
