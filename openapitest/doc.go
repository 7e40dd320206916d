// Package openapitest checks that openapi.json is a valid OpenAPI document. It is a separate
// module, so that importers of the library do not get the validator.
package openapitest
