// The account of the user.
import {act, call, element, leave, make, requireUser, show, tell, url} from "./core.js";
import {ask, choice} from "./dialog.js";

element("copy-id").addEventListener("click", () => act(async () => {
  try {
    await navigator.clipboard.writeText(element("user-id").textContent);
  } catch {
    throw new Error("The browser does not allow it. Select the text and copy it.");
  }
  tell("The user ID is copied.");
}));

element("connect")?.addEventListener("click", () => act(async () => {
  await requireUser(); // the call reads, but the account at GitHub is connected to its user
  location.assign((await call("GET", "/api/v1/auth/github/login")).auth_url);
}));

// grantedScopes returns the sentence about the scopes of the connected account.
async function grantedScopes() {
  const {scopes} = await call("GET", "/api/v1/auth/github/token");
  if (scopes.length === 0) return "GitHub has granted no scopes.";
  return ["GitHub has granted the scopes ", ...scopes.flatMap((scope, i) => [i ? ", " : "", make("code", scope)]), "."];
}

const scopes = element("github-scopes");
if (scopes) show(scopes, grantedScopes);
else call("GET", "/auth/user").catch(() => {}); // only calls renew the session cookie

element("disconnect")?.addEventListener("click", async () => {
  const login = element("github-login").textContent;
  const unlink = make("input", [], {type: "checkbox", name: "unlink", value: "yes"});
  const done = await ask({
    heading: `Disconnect ${login}?`,
    content: [
      make("p", "This service can then no longer work with GitHub for you."),
      choice(unlink, "Also stop signing in with this account", "The sessions that it opened end. You then need an access key to sign in."),
    ],
    yes: "Disconnect",
    danger: true,
    action: () => unlink.checked ? call("DELETE", "/api/v1/auth/github/link") : call("POST", "/api/v1/auth/github/logout"),
  });
  if (done) leave(url("/"), "disconnected");
});
