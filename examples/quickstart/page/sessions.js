// The caller's sessions.
import {button, call, card, clear, element, tell, when} from "./core.js";
import {confirm} from "./dialogs.js";

const methods = new Map([["access_key", "Access key"], ["github", "GitHub"], ["host", "This service"]]);

export async function showSessions() {
  const sessions = await call("GET", "/auth/sessions");
  element("session-list").replaceChildren(...sessions.map((session) => {
    const name = session.user_agent || "An unknown program";
    const facts = [
      ["Signed in with", methods.get(session.method) ?? session.method],
      ["Address", session.ip || "unknown"],
      ["Since", when(session.created_at)],
      ["Ends", when(session.expires_at)],
    ];
    if (session.current) return card(`${name} (this one)`, facts, []);
    return card(name, facts, [button("End", `the session of ${name}`, () => end(session, name))]);
  }));
}

export const clearSessions = () => clear("session-list");

async function end(session, name) {
  if (!await confirm("End this session?", `${name} is signed out.`, "End session")) return;
  await call("DELETE", `/auth/sessions/${encodeURIComponent(session.id)}`);
  await showSessions();
  element("sessions-heading").focus();
  tell("The session has ended.");
}
