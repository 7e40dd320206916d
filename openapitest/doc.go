// Package openapitest validates openapi.json against the rules of OpenAPI. It is a separate module,
// so that importers of the library do not get the validator.
package openapitest
