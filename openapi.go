package auth

import (
	_ "embed"
	"slices"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns a document in the form of OpenAPI 3.1, as JSON, that describes each
// call of [Service.Routes]: what it takes, and each answer that it gives. A host serves
// it as it likes, or merges it into a document of its own; where calls are mounted under
// a prefix, the prefix goes into its servers. The caller may change what is returned.
func OpenAPI() []byte { return slices.Clone(openAPI) }
