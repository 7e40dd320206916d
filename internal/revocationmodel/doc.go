// Package revocationmodel contains models of how the library revokes sessions, and an explorer that
// visits every state of a model.
//
// The library promises what a user, a session and an instance of the service can and cannot do
// after a revocation. The promises involve several processes, a shared database, clocks and
// crashes, so a test of the code meets only a few of the possible orders of events. A model is a
// small program that says which steps are possible in a state. [Explore] takes all possible steps,
// in every order, and reports the shortest sequence of steps that breaks a promise.
//
// The models use terms of the library. The revocation feed is a list of numbered entries in the
// store, which every instance reads. Its head is the highest position of an entry. The generation
// of a session is the head at the time when the session was created. An entry revokes one session,
// or the sessions of one user or of all users. An entry for one user or for all users has a
// generation, and revokes only sessions with a lower generation. A fold replaces entries for single
// sessions of a user by one entry for the user.
//
// There are three models:
//
//   - [Authority]: transactions that make lasting changes for a session, and transactions that
//     revoke the session. All these transactions lock rows of one database.
//   - [NewFeed]: two instances that read the revocation feed. Entries are folded and pruned, the
//     clocks differ, and the store may not answer for a while. [NewSlowFeed] is a variant.
//   - [NewRestore]: two instances, and a store that returns to an earlier state when a backup is
//     restored or an asynchronous replica takes over. [NewProduct] combines this model with
//     NewFeed.
//
// Each model has controls: designs that are known to be wrong, such as a feed ordered by
// timestamps. A test checks that the explorer finds the fault of each control. A model that misses
// a known fault proves nothing about the real design.
//
// The package uses only the standard library. Its tests also replay steps of the models on the real
// stores and issuers. docs/revocation-model.md describes the actors, the rules, what the models
// leave out, and what no design can detect.
package revocationmodel
