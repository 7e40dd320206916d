// What a browser does with the calls of the service.

// The bearer token that an access key was exchanged for. It is in this variable
// and nowhere else: not in the document, not in any storage, and gone when the
// page is left. Whoever signs in with GitHub has a cookie, which no script sees.
let token = "";

// The GitHub flow's outcomes, by the code that the service adds to the address.
const failures = new Map([
  ["denied", "You did not allow it at GitHub. Nothing has changed."],
  ["expired", "This visit to GitHub took too long, was used before, or began in another browser. Begin again."],
  ["not_allowed", "This GitHub account may not sign in here."],
  ["conflict", "This GitHub account and yours here cannot be connected: one of them is connected already."],
  ["unavailable", "GitHub or this service cannot answer now. Try again later."],
]);

const element = (id) => document.getElementById(id);
const tell = (text) => { element("status").textContent = text; };
const warn = (text) => { element("alert").textContent = text; };

// A Refusal is an answer that is not a success, with the service's own sentence.
class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status; // 0 if there was no answer
  }
}

async function call(method, path, body) {
  const headers = {};
  if (token) headers["Authorization"] = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  let response, answer;
  try {
    response = await fetch(path, {
      method, headers, body: body && JSON.stringify(body), cache: "no-store", signal: AbortSignal.timeout(30_000),
    });
    answer = await response.json();
  } catch {
    throw new Refusal(0, "The service does not answer. Try again later.");
  }
  if (!response.ok) throw new Refusal(response.status, answer.detail);
  return answer;
}

let shown; // the section that is on the page

// show puts one of the sections on the page. The focus goes along with it, unless
// the page has only just come.
function show(id) {
  if (shown === id) return;
  element("signed-out").hidden = id !== "signed-out";
  element("signed-in").hidden = id !== "signed-in";
  if (shown) element(`${id}-heading`).focus();
  shown = id;
}

function showSignedOut() {
  token = "";
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
  element("connect-hint").hidden = !token;
  show("signed-in");
}

// refresh shows who is signed in, if anybody is.
async function refresh() {
  let user;
  try {
    user = await call("GET", "/auth/user");
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    showSignedOut();
    return;
  }
  showSignedIn(user, await githubUsername());
}

// githubUsername returns the account that is connected, empty if none is.
async function githubUsername() {
  try {
    return (await call("GET", "/api/v1/auth/github/token")).github_username;
  } catch (problem) {
    if (problem.status === 404) return "";
    throw problem;
  }
}

let busy = false;

// act does one thing at a time, and says what went wrong with it.
async function act(action) {
  if (busy) return;
  busy = true;
  document.body.classList.add("busy");
  warn("");
  tell("");
  try {
    await action();
  } catch (problem) {
    const ended = problem.status === 401 && shown === "signed-in";
    if (ended || !shown) showSignedOut();
    warn(ended ? "You have been signed out. Sign in again." : problem.message);
  } finally {
    busy = false;
    document.body.classList.remove("busy");
  }
}

element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = element("access-key"), secret = element("access-secret");
  const pair = {access_key: key.value.trim(), access_secret: secret.value.trim()};
  secret.value = "";
  act(async () => {
    try {
      token = (await call("POST", "/auth/users/login", pair)).token;
    } catch (problem) {
      secret.focus();
      throw problem;
    }
    key.value = "";
    await refresh();
  });
});

element("connect").addEventListener("click", () => act(async () => {
  location.assign((await call("GET", "/api/v1/auth/github/login")).auth_url);
}));

element("disconnect").addEventListener("click", () => act(async () => {
  await call("POST", "/api/v1/auth/github/logout");
  await refresh();
  element("connect").focus(); // the button that was pressed has gone
  tell("GitHub is disconnected.");
}));

element("sign-out").addEventListener("click", () => act(async () => {
  await call("POST", "/auth/logout");
  showSignedOut();
  tell("You are signed out.");
}));

// arrive reads from the address how the visit to GitHub ended, and removes it
// from there: it must not be said again when the page is reloaded.
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

// Browsers keep pages that are left, for their Back button: without the token,
// and with another look at who is signed in when they come back.
addEventListener("pagehide", () => { token = ""; });
addEventListener("pageshow", (event) => { if (event.persisted) act(refresh); });

act(arrive);
