// Package openapitest holds openapi.json against the rules of OpenAPI 3.1. It is a
// module of its own, so that nobody else compiles the validator.
package openapitest
