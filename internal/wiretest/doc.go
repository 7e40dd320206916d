// Package wiretest tests package auth from the outside, through its HTTP calls and exported names.
// The tests use a store in memory, a fake GitHub and a clock that they advance. Every response is
// compared with openapi.json.
package wiretest
