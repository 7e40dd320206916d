// What the scripts share: the data that the test passes, and the results of the calls.
export const input = JSON.parse(process.env.INTEROP)
export const issuer = new URL(input.issuer)
export const results = {}

// approve does what a person does in a browser.
export async function approve(codes) {
  const response = await fetch(codes.verification_uri_complete)
  if (!response.ok) throw new Error(await response.text())
}

// call stores what the function returns, or the parts of its error that a program acts on.
export async function call(name, run) {
  try {
    results[name] = (await run()) ?? "done"
  } catch (error) {
    results[name] = {
      failure: error.code ?? error.name, error: error.error, status: error.status,
      challenges: error.cause instanceof Array ? error.cause : undefined, message: error.message,
    }
  }
  return results[name]
}
