package openapitest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

func TestOpenAPIDocumentIsValid(t *testing.T) {
	for _, problem := range problems(t, auth.OpenAPI()) {
		t.Error(problem)
	}
}

// This test checks the validator itself. With a validator that accepts every document, the test
// above would always pass.
func TestValidatorRefusesInvalidDocuments(t *testing.T) {
	for old, broken := range map[string]string{
		`"in": "path"`:       `"in": "body"`,
		`"required": true`:   `"required": "yes"`,
		`"operationId": "lo`: `"operation_id": "lo`,
	} {
		document := auth.OpenAPI()
		require.Contains(t, string(document), old)
		require.NotEmpty(t, problems(t, bytes.ReplaceAll(document, []byte(old), []byte(broken))), broken)
	}
}

func problems(t *testing.T, text []byte) (found []string) {
	t.Helper()
	document, err := libopenapi.NewDocument(text)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(document.GetVersion(), "3.1."), document.GetVersion())
	v, errs := validator.NewValidator(document)
	require.Empty(t, errs)
	valid, failures := v.ValidateDocument()
	require.Equal(t, valid, len(failures) == 0)
	for _, failure := range failures {
		found = append(found, failure.Message+": "+failure.Reason)
		for _, detail := range failure.SchemaValidationErrors {
			found = append(found, detail.KeywordLocation+": "+detail.Reason)
		}
	}
	return found
}
