// Makes the calls of a service with oauth4webapi, and prints what each call returned as one JSON object.
import { webcrypto } from "node:crypto"

import * as oauth from "oauth4webapi"

import { approve, call, input, issuer, results } from "./calls.mjs"

globalThis.crypto ??= webcrypto // Node.js 18, which Debian 12 has, does not set it

const as = await call("server metadata", async () =>
  oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: "oauth2" })))
await call("resource metadata", async () =>
  oauth.processResourceDiscoveryResponse(issuer, await oauth.resourceDiscoveryRequest(issuer)))

const ada = { client_id: input.ada.id }
const agent = { client_id: input.agent.id }
const basic = oauth.ClientSecretBasic(input.ada.secret)
const post = oauth.ClientSecretPost(input.ada.secret)
const agentAuth = oauth.ClientSecretBasic(input.agent.secret)

async function signIn(auth, parameters) {
  const response = await oauth.clientCredentialsGrantRequest(as, ada, auth, parameters)
  return oauth.processClientCredentialsResponse(as, ada, response)
}
await call("sign-in with Basic", () => signIn(basic, {}))
await call("sign-in with post", () => signIn(post, {}))
await call("imported key with Basic", async () => {
  const imported = { client_id: input.imported.id }
  const response = await oauth.clientCredentialsGrantRequest(as, imported,
    oauth.ClientSecretBasic(input.imported.secret), {})
  return oauth.processClientCredentialsResponse(as, imported, response)
})
const narrow = await call("scope and resource", () =>
  signIn(basic, { scope: "reports:read", resource: input.resource }))
await call("wrong secret with Basic", () => signIn(oauth.ClientSecretBasic("wrong"), {}))
await call("wrong secret with post", () => signIn(oauth.ClientSecretPost("wrong"), {}))
await call("unknown scope", () => signIn(basic, { scope: "nothing" }))
await call("unknown resource", () => signIn(basic, { resource: "https://unknown.example.com" }))

async function exchange(parameters) {
  const response = await oauth.genericTokenEndpointRequest(as, agent, agentAuth,
    "urn:ietf:params:oauth:grant-type:token-exchange", {
      subject_token: results["sign-in with Basic"].access_token,
      subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
      scope: "reports:read", ...parameters,
    })
  return oauth.processGenericTokenEndpointResponse(as, agent, response)
}
const delegated = await call("token exchange", () => exchange({ resource: input.resource }))
await call("token exchange for the issuer", () => exchange({ resource: input.issuer }))

async function introspect(token) {
  const response = await oauth.introspectionRequest(as, agent, agentAuth, token)
  return oauth.processIntrospectionResponse(as, agent, response)
}
await call("introspection", () => introspect(narrow.access_token))
await call("introspection of a delegated token", () => introspect(delegated.access_token))
await call("introspection of a token for the issuer", () =>
  introspect(results["sign-in with Basic"].access_token))

async function validate(token, audience) {
  const headers = { Authorization: `Bearer ${token}` }
  return oauth.validateJwtAccessToken(as, new Request(input.resource, { headers }), audience)
}
await call("validation with the key set", () => validate(narrow.access_token, input.resource))
await call("validation for another audience", () => validate(narrow.access_token, input.issuer))
await call("validation of a delegated token", () => validate(delegated.access_token, input.resource))

async function reports(token) {
  const response = await oauth.protectedResourceRequest(token, "GET", new URL(input.reports))
  return { status: response.status, text: await response.text() }
}
await call("protected resource", () => reports(results["sign-in with Basic"].access_token))
await call("protected resource with a forged token", () => reports("x"))
await call("protected resource without the scope", async () =>
  reports((await signIn(basic, { scope: "reports:write" })).access_token))

async function revoke(token) {
  return oauth.processRevocationResponse(await oauth.revocationRequest(as, ada, basic, token))
}
await call("revocation", () => revoke(narrow.access_token))
await call("revocation again", () => revoke(narrow.access_token))
await call("revocation of an unknown token", () => revoke("x"))
await call("introspection after revocation", () => introspect(narrow.access_token))

const device = { client_id: "cli" }
const codes = await call("codes of a device", async () =>
  oauth.processDeviceAuthorizationResponse(as, device,
    await oauth.deviceAuthorizationRequest(as, device, oauth.None(), { scope: "reports:read" })))
async function redeem() {
  const response = await oauth.deviceCodeGrantRequest(as, device, oauth.None(), codes.device_code)
  return oauth.processDeviceCodeResponse(as, device, response)
}
await call("device before the approval", redeem)
await call("device too soon", redeem)
await call("approval", () => approve(codes))
await new Promise((resolve) => setTimeout(resolve, (codes.interval + 5) * 1000)) // RFC 8628, section 3.5
await call("device after the approval", redeem)
await call("device again", redeem)

console.log(JSON.stringify(results))
