// Functions that all pages use. They call the service, show messages and build elements.

// page has what the server says about the page: the path of the console and the user.
export const page = document.body.dataset;

export const element = (id) => document.getElementById(id);
export const url = (path) => page.base + path;

// Aborts the running calls when the user leaves the page. The browser may keep the page for its
// Back button, and a late response must not put a secret into the kept page.
let leaving = new AbortController();

// A Refusal is a failed call. Its message is from the service, if the service has responded.
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status; // 0 if there was no response
  }
}

// requireUser throws unless the session cookie is one of the user whom the page shows. All tabs share the
// cookie, so another user can have signed in in another tab. The page must not make changes for that user.
export async function requireUser() {
  if (!page.user || page.page === "rotate") return;
  const {user_id: user} = await call("GET", "/auth/user");
  if (user === page.user) return;
  signedOut("other");
  throw new Refusal(0, "Another user is signed in now.");
}

// ask calls the service. It returns the body of the response, and the path of the next page if
// the body is a page of a list.
export async function ask(method, path, body, signal) {
  const reads = method === "GET";
  if (!reads && path !== "/auth/logout") await requireUser();
  const headers = body ? {"Content-Type": "application/json"} : {};
  const signals = [AbortSignal.timeout(30_000), leaving.signal];
  if (signal) signals.push(signal);
  let response, answer;
  try {
    response = await fetch(path, {method, headers, body: body && JSON.stringify(body), cache: "no-store", signal: AbortSignal.any(signals)});
    answer = response.status === 204 ? {} : await response.json();
  } catch (problem) {
    if (signal?.aborted) throw problem;
    throw new Refusal(0, reads ? "The service does not answer. Try again later."
      : "The service does not answer. It may have made the change all the same: look before you try again.");
  }
  if (!response.ok) throw new Refusal(response.status, detailOf(response, answer));
  return {answer, next: /<([^<>]*)>; rel="next"/.exec(response.headers.get("Link") ?? "")?.[1]};
}

// detailOf returns the sentence of the service about a refused call. For too many attempts, it says how long
// to wait.
function detailOf(response, answer) {
  const wait = Number(response.headers.get("Retry-After"));
  if (response.status === 429 && wait > 0) {
    const [count, unit] = wait > 90 ? [Math.ceil(wait / 60), "minutes"] : [wait, wait === 1 ? "second" : "seconds"];
    return `Too many attempts. Try again in ${count} ${unit}.`;
  }
  return typeof answer.detail === "string" ? answer.detail : "This did not work. Try again later.";
}

export const call = async (method, path, body) => (await ask(method, path, body)).answer;

// segment returns a text as one segment of a path. A segment "." or ".." would change the path.
export const segment = (text) => encodeURIComponent(text).replace(/^\.+$/, (dots) => dots.replaceAll(".", "%2E"));

let toastEnd;

// tell shows for ten seconds that something has worked.
export function tell(text) {
  clearTimeout(toastEnd);
  element("status").textContent = text;
  if (text) toastEnd = setTimeout(() => tell(""), 10_000);
}

export const warn = (text) => { element("alert").textContent = text; };

// leave replaces this page by the page of a path, which then shows the notice. The notice is in the state of
// the history, because anybody can make a link with a query.
export function leave(path, notice) {
  history.replaceState({notice}, "", path);
  location.reload();
}

// signedOut loads the page again, which is the sign-in page if nobody is signed in. The notice says why.
export const signedOut = (notice) => leave(location.pathname + location.search, notice);

// refusedField returns the field of the form that the service has refused, or null if the refusal
// is not about a field. A message about a field begins with "Field" and the name of the field in
// the service, which is also the name of the input. For a message that names no field, the
// attribute data-refusal of an input is the status of the refusal.
function refusedField(form, problem) {
  const name = /^Field (\w+) /.exec(problem.message)?.[1];
  return form.querySelector(name ? `[name="${name}"]` : `[data-refusal="${problem.status ?? 0}"]`);
}

// showRefusal shows the message beside the field and moves the focus to the field.
function showRefusal(field, text) {
  const message = make("p", text, {id: `${field.id}-refusal`, class: "refusal"});
  field.after(message);
  field.setAttribute("aria-invalid", "true");
  const hint = field.getAttribute("aria-describedby");
  field.setAttribute("aria-describedby", hint ? `${message.id} ${hint}` : message.id);
  field.focus();
}

export function removeRefusals(form) {
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    const [message, hint] = field.getAttribute("aria-describedby").split(" ");
    element(message)?.remove();
    field.removeAttribute("aria-invalid");
    if (hint) field.setAttribute("aria-describedby", hint);
    else field.removeAttribute("aria-describedby");
  }
}

// showProblem shows the error of an action: beside the refused field, else at the top of the form
// or of the page. The form of a closed dialog is no longer in the page.
export function showProblem(problem, form) {
  if (!form?.isConnected) form = undefined;
  const field = form && refusedField(form, problem);
  if (field) {
    showRefusal(field, problem.message);
    return;
  }
  const place = form?.querySelector("[role=alert]") ?? element("alert");
  place.textContent = problem.message;
  place.scrollIntoView({block: "nearest"});
}

let running = 0; // number of actions that run

// withProgress runs the action. The page shows a bar if the action takes longer than 0.3 seconds.
export async function withProgress(action) {
  running++;
  const soon = setTimeout(() => { element("progress").hidden = false; }, 300);
  const late = setTimeout(() => { element("status").textContent = "Please wait…"; }, 3_000);
  try {
    return await action();
  } finally {
    clearTimeout(soon);
    clearTimeout(late);
    if (--running === 0) element("progress").hidden = true;
    if (element("status").textContent === "Please wait…") element("status").textContent = "";
  }
}

let busy = false;

// act runs the action and shows its error, if any. While an action runs, act ignores other
// actions. The result says whether the action has succeeded.
export async function act(action, form) {
  if (busy) return false;
  busy = true;
  warn("");
  tell("");
  if (form) {
    removeRefusals(form);
    const place = form.querySelector("[role=alert]");
    if (place) place.textContent = "";
  }
  try {
    await withProgress(action);
    return true;
  } catch (problem) {
    if (problem.status === 401 && page.user) signedOut("ended");
    else showProblem(problem, form);
    return false;
  } finally {
    busy = false;
  }
}

const latest = new WeakMap(); // the latest call of show for each place

// show runs an action that only reads. Its error is shown in the place of the list. The result of an
// earlier call that ends after a later one is older, so show drops it.
export async function show(place, action) {
  const current = {};
  latest.set(place, current);
  place.setAttribute("aria-busy", "true");
  let content;
  try {
    content = [await withProgress(action)].flat();
  } catch (problem) {
    if (problem.status === 401) signedOut("ended");
    if (problem.name === "AbortError") return;
    content = [failure(problem, () => show(place, action))];
  }
  if (latest.get(place) !== current) return;
  place.replaceChildren(...content);
  place.setAttribute("aria-busy", "false");
}

function failure(problem, again) {
  const retry = make("button", "Try again", {class: "button", type: "button"});
  retry.addEventListener("click", again);
  return make("div", [make("strong", "This cannot be shown now"), make("p", problem.message), retry], {class: "empty", role: "alert"});
}

// keepFocus moves the focus to the heading if the focused element is no longer in the page.
export function keepFocus(heading = "title") {
  if (!document.activeElement || document.activeElement === document.body) element(heading).focus();
}

// make returns a new element. The content is a text, an element, or a list of both.
export function make(name, content = [], attributes = {}) {
  const made = document.createElement(name);
  made.append(...[content].flat());
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

// name returns a text from a user. Its direction does not affect the texts around it.
export const name = (text) => make("bdi", text);

// notices are the sentences about the page that was here before. failures are those for the query parameter
// error, which the service sets after a visit to GitHub. A link cannot make the page say something else.
const notices = new Map([
  ["ended", "You have been signed out. Sign in again."],
  ["rotated", "Sign in with the new secret."],
  ["other", "Another user is signed in now. Nothing was changed."],
]);
const successes = new Map([
  ["out", "You are signed out."],
  ["deleted", "The user is deleted."],
  ["disconnected", "GitHub is disconnected."],
]);
const failures = new Map([
  ["denied", "You did not allow it at GitHub. Nothing has changed."],
  ["expired", "This visit to GitHub took too long, was used before, or began in another browser. Begin again."],
  ["not_allowed", "This GitHub account may not sign in here."],
  ["conflict", "This GitHub account and yours here cannot be connected: one of them is connected already."],
  ["unavailable", "GitHub or this service cannot answer now. Try again later."],
]);

// noticeOf returns the notice of the page that was here before, or "" if another tab has made it untrue.
function noticeOf() {
  const notice = history.state?.notice ?? "";
  const needsUser = {ended: false, rotated: false, out: false, other: true, deleted: true}[notice];
  return needsUser === undefined || needsUser === !!page.user ? notice : "";
}

// arrive shows what the page that was here before has done, or the result of a visit to GitHub, which is in
// the query. It removes both, so that a reload does not show the message again.
function arrive() {
  const query = new URLSearchParams(location.search), notice = noticeOf();
  if (query.has("error")) warn(failures.get(query.get("error")) ?? "This did not work at GitHub. Begin again.");
  else if (notices.has(notice)) warn(notices.get(notice));
  else if (successes.has(notice)) tell(successes.get(notice));
  else if (query.has("connected") && !page.user) warn("Sign in again to see the connected GitHub account.");
  else if (query.has("connected") && element("connected")) tell("GitHub is connected.");
  for (const key of ["error", "connected", "moved"]) query.delete(key);
  history.replaceState(null, "", location.pathname + (query.size ? `?${query}` : "") + location.hash);
}

element("sign-out")?.addEventListener("click", () => act(async () => {
  await call("POST", "/auth/logout");
  leave(url("/"), "out");
}));

// In a narrow window, the navigation scrolls sideways.
function showCurrent() {
  document.querySelector(".nav [aria-current]")?.scrollIntoView({block: "nearest", inline: "center"});
}
addEventListener("resize", showCurrent);
showCurrent();

// The browser may keep the page for its Back button. It then must not show what the user could see
// before, because another person may press the button.
addEventListener("pagehide", () => {
  leaving.abort();
  leaving = new AbortController();
  for (const dialog of document.querySelectorAll("dialog")) dialog.remove();
  for (const field of document.querySelectorAll("input[type=password]")) field.value = "";
});
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

arrive();
