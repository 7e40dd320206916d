// The main module of the page: the sections, sign-in, sign-out and the GitHub
// account.

import {act, call, element, hasToken, leave, refreshWith, setToken, tell, warn, whenSignedOut} from "./core.js";
import {closeAll} from "./dialogs.js";
import {clearKeys, showKeys} from "./keys.js";
import {clearSessions, showSessions} from "./sessions.js";
import {clearUsers, showUsers} from "./users.js";

// The messages for failed GitHub flows. The keys are the error codes that the
// service adds to the URL of the page.
const failures = new Map([
  ["denied", "You did not allow it at GitHub. Nothing has changed."],
  ["expired", "This visit to GitHub took too long, was used before, or began in another browser. Begin again."],
  ["not_allowed", "This GitHub account may not sign in here."],
  ["conflict", "This GitHub account and yours here cannot be connected: one of them is connected already."],
  ["unavailable", "GitHub or this service cannot answer now. Try again later."],
]);

let shown; // ID of the section that the page shows

// show shows one of the sections. It moves the focus to the section, except when the
// page was just loaded.
function show(id) {
  if (shown === id) return;
  element("signed-out").hidden = id !== "signed-out";
  for (const part of ["signed-in", "keys", "sessions"]) element(part).hidden = id !== "signed-in";
  if (shown) element(`${id}-heading`).focus();
  shown = id;
}

function showSignedOut() {
  setToken("");
  closeAll();
  clearKeys();
  clearSessions();
  clearUsers();
  element("users").hidden = true;
  for (const id of ["username", "email", "role", "user-id", "github-username"]) element(id).textContent = "";
  show("signed-out");
}

function showSignedIn(user, githubUsername) {
  element("username").textContent = user.username;
  element("email").textContent = user.email ?? "none";
  element("role").textContent = user.is_super_user ? "Super user" : "User";
  element("user-id").textContent = user.user_id;
  element("github-username").textContent = githubUsername;
  element("connected").hidden = !githubUsername;
  element("not-connected").hidden = Boolean(githubUsername);
  element("connect-hint").hidden = !hasToken();
  show("signed-in");
}

// refresh shows the signed-in user, or that no user is signed in.
async function refresh() {
  let user;
  try {
    user = await call("GET", "/auth/user");
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    showSignedOut();
    return;
  }
  const username = await githubUsername();
  await Promise.all([showKeys(), showSessions(), user.is_super_user && showUsers()]);
  if (!user.is_super_user) clearUsers(); // the user may have been a super user before
  element("users").hidden = !user.is_super_user;
  showSignedIn(user, username);
}

// githubUsername returns the login of the connected GitHub account, or "" if none is
// connected.
async function githubUsername() {
  try {
    return (await call("GET", "/api/v1/auth/github/token")).github_username;
  } catch (problem) {
    if (problem.status === 404) return "";
    throw problem;
  }
}

refreshWith(refresh);

// The returned value says whether a user was signed in. If it is true, act tells the
// user.
whenSignedOut(() => {
  const ended = shown === "signed-in";
  showSignedOut();
  return ended;
});

element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = element("access-key"), secret = element("access-secret");
  const pair = {access_key: key.value.trim(), access_secret: secret.value.trim()};
  secret.value = "";
  act(async () => {
    try {
      setToken((await call("POST", "/auth/users/login", pair)).token);
    } catch (problem) {
      secret.focus();
      throw problem;
    }
    key.value = "";
    await refresh();
  }, event.target);
});

element("connect").addEventListener("click", () => act(async () => {
  location.assign((await call("GET", "/api/v1/auth/github/login")).auth_url);
}));

element("disconnect").addEventListener("click", () => act(async () => {
  await call("POST", "/api/v1/auth/github/logout");
  await refresh();
  element("connect").focus(); // the pressed button is hidden now
  tell("GitHub is disconnected.");
}));

element("sign-out").addEventListener("click", () => act(async () => {
  await call("POST", "/auth/logout");
  showSignedOut();
  tell("You are signed out.");
}));

// arrive shows the result of a GitHub flow, which the URL of the page contains. It
// removes the result from the URL, so that a reload does not show the message again.
async function arrive() {
  const query = new URLSearchParams(location.search);
  if (location.search) history.replaceState(null, "", location.pathname);
  await refresh();
  if (query.has("error")) {
    warn(failures.get(query.get("error")) ?? "This did not work at GitHub. Begin again.");
  } else if (query.has("connected")) {
    tell(shown === "signed-in" ? "GitHub is connected."
      : "GitHub is connected to your account. Sign in again: with your key or, from now on, with GitHub.");
  }
}

// A browser may keep a page for its Back button. So the page drops the token when
// the user leaves it, and checks who is signed in when the user returns.
addEventListener("pagehide", () => {
  leave();
  closeAll();
});
addEventListener("pageshow", (event) => { if (event.persisted) act(refresh); });

act(arrive);
