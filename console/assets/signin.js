// The sign-in page. It is at the URL of the page that the user wants to open.
import {act, call, element} from "./core.js";

const form = element("key-form");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const key = element("access-key"), secret = element("access-secret");
  const pair = {access_key: key.value.trim(), access_secret: secret.value.trim()};
  secret.value = "";
  const submit = form.querySelector("button");
  submit.setAttribute("aria-busy", "true");
  act(async () => {
    await call("POST", "/auth/browser/login", pair);
    location.replace(location.pathname + location.search);
  }, form).finally(() => {
    submit.removeAttribute("aria-busy");
    if (document.activeElement === document.body) secret.focus();
  });
});
