// The page on which a user approves or denies a device. The code can be in the URL, but the user must
// confirm it.
import {act, call, element, make, name, Refusal} from "./core.js";
import {button} from "./dialog.js";
import {address, ago, client, facts, scopes} from "./table.js";

const place = element("device"), form = element("code-form"), field = element("user-code"), again = element("again");

const given = new URLSearchParams(location.search).get("user_code") ?? "";
if (/^[A-Za-z -]{8,20}$/.test(given)) field.value = given;

// decide makes a call about the device. The service gives one answer for all codes that cannot be used.
async function decide(step, code) {
  try {
    return await call("POST", `/auth/device/${step}`, {user_code: code});
  } catch (problem) {
    if (problem.status === 404) throw new Refusal(404, "This code is wrong, has expired or was used. Check it, or start again on the device.");
    again.hidden = problem.status !== 403;
    throw problem;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  again.hidden = true;
  act(async () => showDevice(await decide("lookup", field.value), field.value), form);
});

// The sign-in page is at the same URL, so the code stays. A code that was typed is not in the URL yet.
again.addEventListener("click", () => act(async () => {
  await call("POST", "/auth/logout");
  history.replaceState(null, "", `${location.pathname}?${new URLSearchParams({user_code: field.value})}`);
  location.reload();
}));

// spelled returns the code as the device shows it.
function spelled(code) {
  const letters = code.toUpperCase().replaceAll(/[^A-Z]/g, "");
  return `${letters.slice(0, 4)}-${letters.slice(4)}`;
}

// showDevice shows the device with the buttons to decide, and the one to sign in again, which stays hidden
// unless the session has become too old meanwhile.
function showDevice(device, code) {
  const answer = (step, heading, text) => () => act(async () => {
    await decide(step, code);
    history.replaceState(null, "", location.pathname);
    replace(make("h2", heading, {tabindex: "-1"}), make("p", text));
  });
  const who = name(device.client);
  replace(
    make("h2", ["Let ", who, " sign in as you?"], {tabindex: "-1"}),
    make("p", ["Approve only if you have just started this program yourself, and it shows the code ", make("strong", spelled(code)),
      ". If another person has sent you the code or a link, deny. That person would be signed in as you."], {class: "message warn"}),
    facts([
      ["Program", name(device.client)],
      ["May do", scopes(device.scopes)],
      ["Started", ago(device.started_at)],
      ["From address", address(device.ip)],
      ["Client", client(device.user_agent)],
    ]),
    make("div", [
      button("Deny", answer("deny", "Denied", "The program does not get in. You can close this page."), {look: "danger"}),
      button("Approve", answer("approve", "Approved", "Go back to your device. The program signs in within seconds."), {look: "primary"}),
      again,
    ], {class: "buttons"}),
  );
}

// replace shows something else in the place of the form, and moves the focus to its heading.
function replace(heading, ...content) {
  place.replaceChildren(heading, ...content);
  heading.focus();
}
