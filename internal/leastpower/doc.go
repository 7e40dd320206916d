// Package leastpower has tests of one property: no token and no access key ever does what its origin could
// not do, and a revocation takes with it everything that it must. The tests make random sequences of
// sign-ins, new keys, changes and revocations over HTTP, and compare what each token can do afterwards
// with a small model.
package leastpower
