// Package auth adds sign-in to a Go service, inside the process of that service. Users exchange an
// access key and its secret for a bearer token, or sign in with GitHub.
//
// # A service in a few lines
//
// Choose a store (memstore for a test, sqlstore for a database), make a signing key, and mount the
// calls beside your own routes:
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
// In a handler that [Service.Authenticate] wraps, [IdentityFromContext] returns the caller.
// Authorize by Identity.UserID, because a username can later belong to another user, and an ID
// cannot. [Service.User] reads the caller's record from the store.
//
// A new store has no users. [Service.Bootstrap] makes the first super user, who registers the other
// users. If the keys of all super users are lost, [Service.RecoverSuperUser] restores access. Start
// [Service.Run] in a goroutine of your own on every instance. Run reads the store's list of revoked
// sessions, so that requests do not have to read it. Run also delivers events and removes expired
// records.
//
// # Tokens
//
// A token is a JWT, signed with HS256, ES256 or EdDSA, and valid for 12 hours by default. Each
// token names a session, and is rejected once that session is revoked. A session is revoked when
// the user signs out, when [Service.UpdateUser] disables the user, or when the access key that
// opened the session is revoked.
//
// An instance verifies tokens without reading the store. It knows its own revocations at once, and
// the revocations of other instances within 5 seconds. For an immediate effect on all instances,
// [TokenConfig.CheckSessionsInStore] reads the session from the store on every request.
//
// The is_super_user claim is only for clients to display. The calls for super users read the
// caller's record from the store on each request.
//
// # Access keys and sessions
//
// A user has up to 100 access keys, each with a label and an expiry. [CredentialVerifier.Rotate]
// gives a key a new secret while the previous secret keeps working for a time.
// [CredentialVerifier.RevokeLeaked] revokes the key of a leaked secret.
//
// A user has up to [TokenConfig.MaxSessions] sessions. Each records the client that opened it
// ([WithClientInfo]). If another person may be able to sign in as a user,
// [Service.RegenerateCredentials] replaces the user's keys, sessions and GitHub link by one new
// key. [Config.ReauthAfter] limits the power of a stolen token. If the session of the token is
// older than ReauthAfter, the token cannot be used to make an access key.
//
// # A users table of your own
//
// A host that has a users table calls [NewWithUsers] with a [UserSource] and a store that keeps no
// users. It calls [Service.RevokeUser] after it has disabled a user.
//
// # GitHub
//
// With Config.GitHub, users sign in with GitHub and connect their accounts.
// [GitHubConnector.Client] makes the host's calls to GitHub as one of these users. With
// Config.BrowserSessions, a browser that signs in with GitHub stays signed in by cookie. Package
// githubtest is a fake GitHub for tests.
//
// # Attacks
//
// [Config.Throttling] limits the attempts of each client address. A client with a correct generated
// secret is always accepted, unless the client's own address floods the service. [Config.Proxies]
// names the proxies that are trusted to report the client address. [Config.OnEvent] receives all
// events, such as sign-ins, refusals and lasting changes, each with the user who caused it and the
// reason. If OnEvent is nil, events go to the log.
//
// # Tests of a host
//
// With memstore, [Service.Register] and [Service.SignIn] give a user and a token in two lines. No
// database and no other service needs to run.
//
// # Other routers and protocols
//
// [Service.Routes] lists the calls for routers other than [http.ServeMux]. For paths of your own,
// each call has a constructor, such as [Service.LoginHandler]. For other protocols, each middleware
// is also a plain function. [Service.Identify] returns the caller of a request,
// [Service.IdentifyContext] puts the caller into the context, and [Service.SuperUser] requires a
// super user. [ErrorStatus] returns the status and the text for the errors of these functions.
// [Service.Login] exchanges an access key and its secret for a token.
//
// # Composing the components
//
// A Service consists of a [TokenIssuer], a [CredentialVerifier] and, with GitHub, a
// [GitHubConnector]. Each component needs only its part of the store, and can be used alone.
// Components that share one [EventLog] and one TokenIssuer emit the same events and call the same
// hooks as a Service. They also reject a revoked session as soon as a Service does.
//
// # Importing users
//
// [Service.ImportUsers] adds users with the access keys that they have in another system. It reads
// JSON lines with bcrypt, argon2id or SHA-256 hashes, and can continue after an interruption.
//
// # Secrets
//
// Types that carry a secret print as "[redacted]". The store has only hashes of access secrets. A
// generated secret has 256 random bits, so a fast hash is enough. With CredentialConfig.Peppers,
// the hash also needs a key that is not in the store. Secrets that people chose, and secrets from
// another system with bcrypt or argon2id hashes, can be imported. Such secrets are verified in a
// queue of limited length.
//
// # Writing a store
//
// [AccountStore] has the rules for a store, and package storetest tests them. A store calls the
// Validate methods of the records, [ValidateHash] and [ValidateState] before it writes. A store
// compares names in the form that [FoldASCII] returns. [KeyRotation.Apply] and [UserChange.Apply]
// make the changes that are the same in every store. The limits of a store are [MaxIDLength],
// [MaxAccessKeyLength], [MaxGitHubHostLength], [MaxKeys], [KeyUsePrecision], [MaxNamedRevocations]
// and [KeptRevocations].
package auth
