// What all parts of the page need: the calls of the service, and what is told to
// whoever reads the page.

// The bearer token that an access key was exchanged for. It is in this variable
// and nowhere else: not in the document, not in any storage, and gone when the
// page is left. Whoever signs in with GitHub has a cookie, which no script sees.
let token = "";

export const hasToken = () => token !== "";
export const setToken = (text) => { token = text; };

// An answer that is still on its way when the page is left must not bring a token or
// a secret into a page that the browser keeps for its Back button.
let leaving = new AbortController();

export function leave() {
  token = "";
  leaving.abort();
  leaving = new AbortController();
}

export const element = (id) => document.getElementById(id);
export const tell = (text) => { element("status").textContent = text; };
export const warn = (text) => { element("alert").textContent = text; };

// A Refusal is an answer that is not a success, with the service's own sentence.
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status; // 0 if there was no answer
  }
}

// ask returns the answer to a call, and where the next page of it is, if there is one.
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

let onEnd = () => {}; // what to do when nobody is signed in any more

export const whenSignedOut = (action) => { onEnd = action; };

let refresh = async () => {}; // how to show anew who is signed in, and all lists

export const refreshWith = (action) => { refresh = action; };
export const showAgain = () => refresh();

let busy = false;

// act does one thing at a time, and says what went wrong with it.
export async function act(action) {
  if (busy) return;
  busy = true;
  document.body.classList.add("busy");
  warn("");
  tell("");
  try {
    await action();
  } catch (problem) {
    const ended = problem.status === 401 && onEnd();
    warn(ended ? "You have been signed out. Sign in again." : problem.message);
  } finally {
    busy = false;
    document.body.classList.remove("busy");
  }
}

// clear takes everything out of an element.
export const clear = (id) => element(id).replaceChildren();

// make returns an element with this text or these children in it.
export function make(name, content, attributes = {}) {
  const made = document.createElement(name);
  made.append(...[content].flat());
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

// button returns one that says to people who do not see it what it is for.
export function button(text, of, action) {
  const made = make("button", [text, make("span", ` ${of}`, {class: "unseen"})], {type: "button"});
  made.addEventListener("click", () => act(action));
  return made;
}

// card returns an item of a list: a heading, what there is to say, and buttons.
export function card(heading, facts, buttons) {
  const list = make("dl", facts.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
  return make("li", [make("h3", heading), list, make("div", buttons, {class: "actions"})]);
}

// when writes a time as people do where they are; null is never.
export function when(time) {
  if (!time) return "never";
  return make("time", new Date(time).toLocaleString(undefined, {dateStyle: "medium", timeStyle: "short"}), {datetime: time});
}
