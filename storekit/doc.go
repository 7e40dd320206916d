// Package storekit has the rules that are the same in every store. It is for authors of stores. A host
// does not need it.
//
// A store reads and locks the records on which a change depends. It passes them to a function of this
// package, which decides. The store then writes the record that the function returns, or returns its error.
// The functions are pure: they read no clock and no database. So each of these rules is in one place.
//
//	acting := storekit.Acting{By: w.By, Session: session, User: user, RevokedBelow: below, Now: now}
//	if err := acting.Check(); err != nil {
//		return err // the authority of the change does not hold
//	}
//	if err := w.By.CheckOwner(key.UserID); err != nil {
//		return err // the session may not change records of this user
//	}
//	if err := acting.CheckKeyGrant(owner, key.Scopes); err != nil {
//		return err // the session would give away more than it has
//	}
//
// Each function says which method of a store calls it. The comments of [auth.AccountStore] and of the other
// interfaces are the contract of a store. Package storetest tests a store, and docs/stores.md says how to
// write one.
package storekit
