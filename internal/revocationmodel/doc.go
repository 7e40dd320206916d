// Package revocationmodel holds models of how access ends, and an explorer that visits every state
// of a model.
//
// The library promises what a user, a session and an instance of the service can and cannot do
// after a revocation. The promises involve several processes, a shared database, clocks and
// crashes, so a test that runs the code meets only a few of the possible orders of events. A model
// is a small program that says which steps are possible in a state. [Explore] takes all possible
// steps, in every order, and reports the shortest sequence of steps that breaks a promise.
//
// There are three models:
//
//   - [Authority]: requests that make lasting changes, and revocations of the session that makes
//     them, as transactions that lock rows of one database.
//   - [NewFeed]: two instances that follow the revocation feed, with folding, pruning, clocks that
//     differ, and a store that cannot be read for a while.
//   - [NewRestore]: the same instances, and a store that returns to an earlier state, from a backup
//     or because an asynchronous replica took over.
//
// Each model has controls: designs that are known to be wrong, such as a feed ordered by
// timestamps. A test requires that the explorer finds the fault of each control. If a model cannot
// find the fault of a wrong design, it proves nothing about the real design.
//
// The package uses only the standard library. Its tests also replay steps of the models on the real
// stores and issuers. docs/revocation-model.md describes the actors, the rules, what the models
// leave out, and what no design can detect.
package revocationmodel
