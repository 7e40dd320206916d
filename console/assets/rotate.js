// The page for a session that may only rotate its access key.
import {act, call, element, page, segment, signedOut} from "./core.js";
import {showSecret} from "./dialog.js";

element("rotate").addEventListener("click", () => act(async () => {
  const pair = await call("POST", `/auth/keys/${segment(page.id)}/rotate`, {});
  await showSecret("Your new access secret", pair);
  signedOut("rotated");
}));
