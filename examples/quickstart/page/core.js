// Functions that all parts of the page use. They call the service, show messages and
// build elements.

// The bearer token of a user who has signed in with an access key. The token is only
// in this variable, not in the document or in a storage. It is gone when the user
// leaves the page. A user who signs in with GitHub has a cookie instead, which no
// script can read.
let token = "";

export const hasToken = () => token !== "";
export const setToken = (text) => { token = text; };

// Aborts the running calls when the user leaves the page. The browser may keep the
// page for its Back button, and a late response must not put a token or a secret
// into the kept page.
let leaving = new AbortController();

export function leave() {
  token = "";
  leaving.abort();
  leaving = new AbortController();
}

export const element = (id) => document.getElementById(id);
export const tell = (text) => { element("status").textContent = text; };
export const warn = (text) => { element("alert").textContent = text; };

// A Refusal is a failed call. Its message is from the service, if the service has
// responded.
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status; // 0 if there was no response
  }
}

// ask calls the service. It returns the body of the response, and the path of the
// next page if the body is a page of a list.
export async function ask(method, path, body) {
  const headers = {};
  if (token) headers["Authorization"] = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  let response, answer;
  try {
    response = await fetch(path, {
      method, headers, body: body && JSON.stringify(body), cache: "no-store",
      signal: AbortSignal.any([AbortSignal.timeout(30_000), leaving.signal]),
    });
    answer = response.status === 204 ? {} : await response.json();
  } catch {
    throw new Refusal(0, "The service does not answer. Try again later.");
  }
  if (!response.ok) throw new Refusal(response.status, answer.detail);
  return {answer, next: /^<(.*)>; rel="next"$/.exec(response.headers.get("Link") ?? "")?.[1]};
}

export const call = async (method, path, body) => (await ask(method, path, body)).answer;

let onEnd = () => {}; // called when no user is signed in any more

export const whenSignedOut = (action) => { onEnd = action; };

let refresh = async () => {}; // shows the signed-in user and all lists again

export const refreshWith = (action) => { refresh = action; };
export const showAgain = () => refresh();

// refusedField returns the field of the form that the service has refused, or null if
// the refusal is not about a field. A message about a field begins with "Field" and the
// name of the field in the service, which is also the name of the input. For a message
// that names no field, the attribute data-refusal of an input is the status of the
// refusal.
function refusedField(form, problem) {
  const name = /^Field (\w+) /.exec(problem.message)?.[1];
  const status = problem.status ?? 0;
  return form.querySelector(name ? `[name="${name}"]` : `[data-refusal="${status}"]`);
}

// showRefusal shows the message beside the field and moves the focus to the field.
// A message at the top of the page could be out of view, because the form may be longer
// than the window.
function showRefusal(field, text) {
  const message = make("p", text, {id: `${field.id}-refusal`, class: "refusal"});
  field.after(message);
  field.setAttribute("aria-invalid", "true");
  const hint = field.getAttribute("aria-describedby");
  field.setAttribute("aria-describedby", hint ? `${message.id} ${hint}` : message.id);
  field.focus();
}

function removeRefusals() {
  for (const field of document.querySelectorAll("[aria-invalid]")) {
    field.nextElementSibling.remove();
    field.removeAttribute("aria-invalid");
    const hint = field.getAttribute("aria-describedby").split(" ")[1];
    if (hint) field.setAttribute("aria-describedby", hint);
    else field.removeAttribute("aria-describedby");
  }
}

let busy = false;

// act runs the action and shows its error, if any. If the error is about a field of the
// form, act shows it beside the field. While an action runs, act ignores other actions.
export async function act(action, form) {
  if (busy) return;
  busy = true;
  document.body.classList.add("busy");
  warn("");
  tell("");
  removeRefusals();
  try {
    await action();
  } catch (problem) {
    const ended = problem.status === 401 && onEnd();
    const field = form && !ended && refusedField(form, problem);
    if (field) showRefusal(field, problem.message);
    else warn(ended ? "You have been signed out. Sign in again." : problem.message);
  } finally {
    busy = false;
    document.body.classList.remove("busy");
  }
}

// clear removes all children of an element.
export const clear = (id) => element(id).replaceChildren();

// make returns a new element. The content is a text, or a list of texts and
// elements.
export function make(name, content, attributes = {}) {
  const made = document.createElement(name);
  made.append(...[content].flat());
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

// button returns a button with a text. The parameter "of" names what the button acts
// on. The page hides this name, but a screen reader reads it.
export function button(text, of, action) {
  const made = make("button", [text, make("span", ` ${of}`, {class: "unseen"})], {type: "button"});
  made.addEventListener("click", () => act(action));
  return made;
}

// card returns an item of a list with a heading, facts and buttons. A fact is a pair
// of a name and a value.
export function card(heading, facts, buttons) {
  const list = make("dl", facts.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
  return make("li", [make("h3", heading), list, make("div", buttons, {class: "actions"})]);
}

// when returns an element that shows the time in the format of the user's language.
// If time is null, it returns "never".
export function when(time) {
  if (!time) return "never";
  return make("time", new Date(time).toLocaleString(undefined, {dateStyle: "medium", timeStyle: "short"}), {datetime: time});
}
