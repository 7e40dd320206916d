// Makes the calls of a service with openid-client, and prints what each call returned as one JSON object.
import * as client from "openid-client"

import { approve, call, input, issuer, results } from "./calls.mjs"

const options = { algorithm: "oauth2" }
async function discover(user, auth) {
  return client.discovery(issuer, user.id, undefined, auth(user.secret), options)
}
let ada, posting, agent
await call("server metadata", async () => {
  ada = await discover(input.ada, client.ClientSecretBasic)
  posting = await discover(input.ada, client.ClientSecretPost)
  agent = await discover(input.agent, client.ClientSecretBasic)
  return ada.serverMetadata()
})
await call("sign-in with Basic", () => client.clientCredentialsGrant(ada))
await call("sign-in with post", () => client.clientCredentialsGrant(posting))
const narrow = await call("scope and resource", () =>
  client.clientCredentialsGrant(ada, { scope: "reports:read", resource: input.resource }))
await call("unknown scope", () => client.clientCredentialsGrant(ada, { scope: "nothing" }))
await call("unknown resource", () =>
  client.clientCredentialsGrant(ada, { resource: "https://unknown.example.com" }))
await call("wrong secret with Basic", async () =>
  client.clientCredentialsGrant(await discover({ id: input.ada.id, secret: "wrong" }, client.ClientSecretBasic)))

const delegated = await call("token exchange", () => client.genericGrantRequest(agent,
  "urn:ietf:params:oauth:grant-type:token-exchange", {
    subject_token: results["sign-in with Basic"].access_token,
    subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
    scope: "reports:read", resource: input.resource,
  }))
await call("introspection", () => client.tokenIntrospection(agent, narrow.access_token))
await call("introspection of a delegated token", () =>
  client.tokenIntrospection(agent, delegated.access_token))
await call("protected resource", async () => {
  const response = await client.fetchProtectedResource(ada, results["sign-in with Basic"].access_token,
    new URL(input.reports), "GET")
  return { status: response.status, text: await response.text() }
})
await call("revocation", () => client.tokenRevocation(ada, narrow.access_token))
await call("revocation again", () => client.tokenRevocation(ada, narrow.access_token))
await call("introspection after revocation", () => client.tokenIntrospection(agent, narrow.access_token))

await call("device after the approval", async () => {
  const device = await client.discovery(issuer, "cli", undefined, client.None(), options)
  const codes = await client.initiateDeviceAuthorization(device, { scope: "reports:read" })
  await approve(codes)
  return client.pollDeviceAuthorizationGrant(device, codes)
})

console.log(JSON.stringify(results))
