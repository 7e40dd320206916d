// Package wiretest tests package auth from the outside: through its HTTP calls and exported names,
// over a store in memory, a fake GitHub and a clock that the tests move. Every response is compared
// with openapi.json.
package wiretest
