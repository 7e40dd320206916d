// The sessions of the user.
import {call, element, keepFocus, make, show, tell} from "./core.js";
import {ask} from "./dialog.js";
import {sessionTable} from "./sessionlist.js";

const others = element("others");

const load = () => show(element("list"), async () => {
  const sessions = await call("GET", "/auth/sessions");
  others.hidden = sessions.every((session) => session.current);
  sessions.sort((a, b) => b.current - a.current); // this session first
  return sessionTable(sessions, load);
});

others.addEventListener("click", async () => {
  const done = await ask({
    heading: "Sign out everywhere else?",
    content: [make("p", "All your sessions end, except this one. Access keys stay and can sign in again: revoke a key that was stolen.")],
    yes: "Sign out everywhere else",
    danger: true,
    action: () => call("DELETE", "/auth/sessions?except=current"),
  });
  if (!done) return;
  await load();
  keepFocus();
  tell(done.revoked_count === 1 ? "One other session is revoked." : `${done.revoked_count} other sessions are revoked.`);
});

load();
