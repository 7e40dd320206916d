package auth

import (
	"bytes"
	_ "embed"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns a description of the documented calls in OpenAPI 3.1, as JSON: what
// each takes, and every answer that it gives. It describes all groups, with the paths
// that [Service.Routes] has and the groups as tags, whatever the host has left out or
// mounts elsewhere; the server is "/". The bytes are the caller's own.
//
// A host serves it where it likes, to whom it likes, as application/json; the library
// has no call of its own for it.
func OpenAPI() []byte { return bytes.Clone(openAPI) }
