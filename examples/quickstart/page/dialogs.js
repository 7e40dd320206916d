// The dialogs. The browser keeps the focus in an open dialog. When the dialog
// closes, the browser returns the focus.
import {element} from "./core.js";

// ended waits until the dialog is closed, and returns whether the user has agreed.
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

// confirm asks the user a question, and returns whether the user has agreed. Escape
// means no.
export function confirm(heading, text, yes) {
  element("confirm-heading").textContent = heading;
  element("confirm-text").textContent = text;
  element("confirm-yes").textContent = yes;
  return ended(open("confirm"));
}

// chooseOverlap asks for how long the old secret of a key must still work. It
// returns the number of seconds, or undefined if the user cancels the dialog.
export async function chooseOverlap(name) {
  element("rotate-name").textContent = name;
  element("overlap").value = "0";
  return await ended(open("rotate")) ? Number(element("overlap").value) : undefined;
}

// showSecret shows a pair while the dialog is open. After that, the secret is
// nowhere in the page.
function showSecret(heading, pair) {
  element("secret-heading").textContent = heading;
  element("secret-key").textContent = pair.access_key;
  element("secret-secret").textContent = pair.access_secret;
  element("copied").textContent = "";
  return ended(open("secret"));
}

// showSecretAndThen shows the pair first and then calls showLists. The pair is the
// only copy, so an error of showLists must not hide it. The error is thrown after
// the dialog is closed. For example, it says that the change has ended the caller's
// own session.
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

// closeAll closes all dialogs and removes the secret, because the user has left or
// is signed out.
export function closeAll() {
  forget();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}
