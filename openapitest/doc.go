// Package openapitest holds the description of the calls to the rules of OpenAPI. It
// is a module of its own, so that nobody who imports the library meets the validator.
package openapitest
