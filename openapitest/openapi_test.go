package openapitest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

func TestOpenAPIDocumentIsValid(t *testing.T) {
	require.NoError(t, problems(t, auth.OpenAPI()))
}

// This test checks the validator itself. With a validator that accepts every document, the test
// above would always pass.
func TestValidatorRefusesInvalidDocuments(t *testing.T) {
	for old, broken := range map[string]string{
		`"in": "path"`:       `"in": "body"`,
		`"required": true`:   `"required": "maybe"`,
		`"type": "string"`:   `"type": "text"`,
		`/schemas/Readiness`: `/schemas/Absent`,
		`"operationId": "lo`: `"operation_id": "lo`,
	} {
		document := auth.OpenAPI()
		require.Contains(t, string(document), old)
		require.Error(t, problems(t, bytes.ReplaceAll(document, []byte(old), []byte(broken))), broken)
	}
}

func problems(t *testing.T, text []byte) error {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return err
	}
	require.True(t, strings.HasPrefix(document.OpenAPI, "3.1."), document.OpenAPI)
	return document.Validate(t.Context())
}
