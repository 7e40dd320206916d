// Package auth adds sign-in to a Go service, inside that service: users exchange an access key
// and its secret for a bearer token, or sign in with GitHub.
//
// # A service in a few lines
//
// Choose a store (memstore for a test, sqlstore for a database), make a signing key, and mount
// the calls beside your own routes:
//
//	svc, err := auth.New(store, auth.Config{
//		Issuer:      "https://api.example.com",
//		SigningKeys: []auth.SigningKey{key},
//		Proxies:     auth.NoProxies(),
//	})
//	…
//	svc.Mount(mux)
//	mux.Handle("GET /reports", svc.Authenticate(reports))
//	mux.Handle("DELETE /reports", svc.Authenticate(svc.RequireSuperUser(purge)))
//
// Behind [Service.Authenticate], [IdentityFromContext] returns the caller. Authorize by
// Identity.UserID: names change hands, IDs do not. [Service.User] reads the caller's record from
// the store.
//
// A new store has no users. [Service.Bootstrap] makes the first super user, who registers the
// others. [Service.RecoverSuperUser] is the way back in if every super user's key is lost. Start
// [Service.Run] in a goroutine of your own on every instance: it follows the revocation feed
// ahead of requests, delivers events, and removes expired records.
//
// # What a token is
//
// A token is a JWT, signed with HS256, ES256 or EdDSA, and valid for 12 hours. It names a session
// and is rejected once the session is revoked: when the user signs out, when
// [Service.UpdateUser] disables the user, or when the key that opened the session is revoked.
// Verifying a token reads nothing from the store. Each instance knows its own revocations at
// once and those of other instances within 5 seconds. If that is too late,
// [TokenConfig.CheckSessionsInStore] asks the store on every request.
//
// The is_super_user claim is for clients to show. What a caller may do is read from the store
// each time.
//
// # Keys and sessions
//
// A user has up to 100 access keys, each with a label and an expiry. [CredentialVerifier.Rotate]
// gives a key a new secret while the previous one keeps working for a time.
// [CredentialVerifier.RevokeLeaked] revokes the key of a secret that has leaked. Sessions record
// the client that opened them ([WithClientInfo]); a user has up to [TokenConfig.MaxSessions] of
// them. If somebody else may be able to sign in as a user, [Service.RegenerateCredentials]
// removes every way in. With [Config.ReauthAfter], a stolen token makes no key.
//
// # A users table of your own
//
// A host that has users already calls [NewWithUsers] with a [UserSource], over a store that keeps
// no users, and calls [Service.RevokeUser] after it has disabled a user.
//
// # GitHub
//
// With Config.GitHub, users sign in with GitHub and connect their accounts, and
// [GitHubConnector.Client] makes the host's calls to GitHub as one of them. With
// Config.BrowserSessions, a browser that has signed in so stays signed in by cookie. Package
// githubtest is a GitHub for tests.
//
// # Under attack, and afterwards
//
// [Config.Throttling] bounds what one address can try; a correct generated secret is accepted
// throughout, unless its own address floods the service. [Config.OnEvent] is called with
// everything that happens, who did it and why it was rejected; if it is nil, events go to the
// log. [Config.Proxies] names the proxies that are believed about the address of a client.
//
// # In a host's own tests
//
// With memstore, [Service.Register] and [Service.SignIn] give a user and a token in two lines.
// Nothing is asked for and nothing needs to run.
//
// # Other routers, and no router
//
// [Service.Routes] lists the calls for routers other than [http.ServeMux]. Each call has a
// constructor, such as [Service.LoginHandler], for paths of your own. Every middleware is a plain
// function first: [Service.Identify] returns the caller of a request, [Service.IdentifyContext]
// puts the caller into its context, [Service.SuperUser] requires power, and [ErrorStatus] says
// how to answer their errors. [Service.Login] is the sign-in itself.
//
// # Composing the parts yourself
//
// A Service is made of a [TokenIssuer], a [CredentialVerifier] and, with GitHub, a
// [GitHubConnector]. Each takes its role of the store and can be used alone. Give them one
// [EventLog] and one issuer, and they emit the same events, call the same hooks and reject a
// revoked session as soon as a Service does.
//
// # Users from elsewhere
//
// [Service.ImportUsers] adds users with the keys that they have elsewhere, from JSON lines with
// bcrypt, argon2id or SHA-256 hashes, and continues after an interruption.
//
// # Secrets
//
// Types that carry a secret print as "[redacted]". The store has hashes of access secrets, never
// the secrets: 256 random bits under a fast hash and, with CredentialConfig.Peppers, under a key
// that the store does not have. Secrets that people chose, or that come from another system with
// bcrypt or argon2id hashes, are imported with their keys and verified in a bounded queue.
//
// # For authors of a store
//
// [AccountStore] has the rules, and package storetest tests them. A store calls the Validate
// methods of the records, [ValidateHash] and [ValidateState] before it writes, and compares names
// as [FoldASCII] makes them. [KeyRotation.Apply] and [UserChange.Apply] are the changes that
// every store makes alike. [MaxIDLength], [MaxAccessKeyLength], [MaxGitHubHostLength], [MaxKeys],
// [KeyUsePrecision], [MaxNamedRevocations] and [KeptRevocations] are its limits.
package auth
