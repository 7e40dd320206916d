// Package wiretest tests package auth from the outside: through its HTTP calls and its exported
// names, over a store in memory, a fake GitHub and a clock that is moved by hand. Every answer
// is held to openapi.json.
package wiretest
