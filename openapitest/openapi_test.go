package openapitest_test

import (
	"bytes"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// problems returns what the validator finds.
func problems(t *testing.T, text []byte) (found []string) {
	t.Helper()
	document, err := libopenapi.NewDocument(text)
	require.NoError(t, err)
	v, errs := validator.NewValidator(document)
	require.Empty(t, errs)
	_, invalid := v.ValidateDocument()
	for _, problem := range invalid {
		found = append(found, problem.Error())
		for _, detail := range problem.SchemaValidationErrors {
			found = append(found, detail.Error())
		}
	}
	return found
}

func TestTheDocumentIsOfOpenAPI31(t *testing.T) {
	t.Parallel()
	require.Empty(t, problems(t, auth.OpenAPI()))
}

func TestTheValidatorFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for old, new := range map[string]string{
		`"in": "path"`: `"in": "somewhere"`, `"title": "Sign-in",`: ``, `"operationId": "login"`: `"operationID": "login"`,
	} {
		require.NotEmpty(t, problems(t, bytes.Replace(auth.OpenAPI(), []byte(old), []byte(new), 1)), new)
	}
}
