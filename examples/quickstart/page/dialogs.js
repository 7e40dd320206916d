// The dialogs. The browser keeps the focus in them, and gives it back at their end.
import {element} from "./core.js";

// ended waits until a dialog is closed, and returns whether its work is to be done.
function ended(dialog) {
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), {once: true});
  });
}

function open(id) {
  const dialog = element(id);
  dialog.returnValue = "";
  dialog.showModal();
  return dialog;
}

for (const dialog of document.querySelectorAll("dialog")) {
  for (const button of dialog.querySelectorAll("button[value]")) {
    button.addEventListener("click", () => dialog.close(button.value));
  }
}

// confirm asks whether to go on. Escape is no.
export function confirm(heading, text, yes) {
  element("confirm-heading").textContent = heading;
  element("confirm-text").textContent = text;
  element("confirm-yes").textContent = yes;
  return ended(open("confirm"));
}

// chooseOverlap asks how long the earlier secret of a key is to work, in seconds. It
// returns undefined for not at all.
export async function chooseOverlap(name) {
  element("rotate-name").textContent = name;
  element("overlap").value = "0";
  return await ended(open("rotate")) ? Number(element("overlap").value) : undefined;
}

// showSecret shows a pair for as long as the dialog is open. Afterwards the secret is
// nowhere in the page.
function showSecret(heading, pair) {
  element("secret-heading").textContent = heading;
  element("secret-key").textContent = pair.access_key;
  element("secret-secret").textContent = pair.access_secret;
  element("copied").textContent = "";
  return ended(open("secret"));
}

// showSecretAndThen shows a pair at once: there is no other copy, so nothing that goes
// wrong with the lists behind it may come first. It is told when the dialog is closed,
// be it that the caller's own session has ended with the change.
export async function showSecretAndThen(heading, pair, showLists) {
  const closed = showSecret(heading, pair);
  try {
    await showLists();
  } catch (problem) {
    await closed;
    throw problem;
  }
}

function forget() {
  for (const id of ["secret-key", "secret-secret", "copied"]) element(id).textContent = "";
}

element("secret").addEventListener("close", forget);

for (const [id, from, said] of [
  ["copy-key", "secret-key", "The access key is copied."],
  ["copy-secret", "secret-secret", "The access secret is copied."],
]) {
  element(id).addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(element(from).textContent);
      element("copied").textContent = said;
    } catch {
      element("copied").textContent = "The browser does not allow it. Select the text and copy it.";
    }
  });
}

// closeAll is for when nobody is there any more.
export function closeAll() {
  forget();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}
