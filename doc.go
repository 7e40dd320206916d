// Package auth adds sign-in to a Go service. This documentation calls that service the host. Users
// exchange an access key and its secret for a bearer token, or sign in with GitHub.
//
// # A service in a few lines
//
// Choose a store (memstore for a test, sqlstore for a database), make a signing key, and mount the
// HTTP calls of this package beside your own routes:
//
//	svc, err := auth.New(store, auth.Config{
//		Issuer:      "https://api.example.com",
//		SigningKeys: []auth.SigningKey{key},
//		Proxies:     auth.NoProxies(),
//	})
//	…
//	svc.Mount(mux)
//	mux.Handle("GET /reports", svc.Authenticate(http.HandlerFunc(reports)))
//	mux.Handle("DELETE /reports", svc.Authenticate(svc.RequireSuperUser(http.HandlerFunc(purge))))
//
// In a handler that [Service.Authenticate] wraps, [IdentityFromContext] returns the caller.
// Authorize by Identity.UserID: unlike a username, it never changes. [Service.User] reads the
// caller's record from the store.
//
// A new store has no users. [Service.Bootstrap] makes the first super user, who registers the other
// users. If the keys of all super users are lost, [Service.RecoverSuperUser] restores access.
//
// On every instance of the service, start [Service.Run] in a goroutine. Run updates the instance's
// copy of the revocation feed, which is the store's list of revocations. Run also delivers events
// and removes expired records.
//
// For a load balancer, mount [GroupHealth]. Its call GET /readyz says whether the instance can accept
// tokens now. For an alert, use [Service.Ping], which returns an error as soon as the store does not
// answer.
//
// # Tokens
//
// A token is a JWT, signed with HS256, ES256 or EdDSA, and valid for 12 hours by default. Each
// token names a session, and is rejected after that session has been revoked. For example, a
// session is revoked when the user signs out, when [Service.UpdateUser] disables the user, or when
// the access key that opened the session is revoked.
//
// By default, an instance verifies tokens without reading the store. A revocation takes effect at
// once on the instance that makes it, and within 5 seconds on the other instances. If
// [TokenConfig.CheckSessionsInStore] is set, each request reads its session from the store, and a
// revocation takes effect at once on all instances.
//
// Another service, which has neither the store nor the signing keys, verifies tokens with a
// [RemoteVerifier]. It can follow the revocations of this service, which then mounts [GroupVerifiers].
//
// The is_super_user claim of a token is only for clients to display. It grants nothing: the calls
// for super users read the caller's record from the store on each request.
//
// # Access keys and sessions
//
// A user has up to 100 access keys, each with a label and an expiry. [CredentialVerifier.Rotate]
// gives a key a new secret. The previous secret keeps working for a time that the caller sets.
// [CredentialVerifier.RevokeLeaked] revokes the key of a leaked secret.
//
// An access key can be limited to a set of scopes ([KeyOptions]), such as "reports:read". The sessions
// and tokens of such a key may do only what these scopes name: see [ScopeSet]. The host lists its
// scopes in [TokenConfig.Scopes], and protects its routes with [Service.RequireScope].
// A route with only [Service.Authenticate] refuses limited tokens. The calls of this package need scopes
// such as [ScopeKeys].
//
// A user has up to [TokenConfig.MaxSessions] sessions. The record of a session names the client
// that opened the session ([WithClientInfo]).
//
// If another person could have the credentials of a user, [Service.RegenerateCredentials] removes
// all keys, sessions and GitHub links of the user and makes one new key. [Config.ReauthAfter]
// limits what a stolen token can do with the HTTP calls of this package: if the token's session is
// older, the token cannot be used to make an access key. If your code makes such a change with
// [Identity.Authority], set MaxAge of the [Authority].
//
// # Other services
//
// A token is for the service that issues it. For the services in [TokenConfig.Audiences], a host issues
// tokens with [LoginOptions] or [IssueParams], and such a service verifies them with a [RemoteVerifier].
// [TokenIssuer.Delegate] makes a token with which a program calls another service for a user.
//
// # A users table of your own
//
// A host that has a users table calls [NewWithUsers] with a [UserSource] and a store that keeps no users.
// After the host has disabled a user in its table, it must call [TokenIssuer.RevokeUser].
//
// # GitHub
//
// If Config.GitHub is set, users can sign in with GitHub and connect their GitHub accounts.
// [GitHubConnector.Client] returns an HTTP client with which the host calls GitHub as one of these
// users. If [Config.BrowserSessions] is set, a sign-in with GitHub sets a session cookie in the
// browser. A person can also get this cookie with an access key: mount [GroupBrowser].
// Package githubtest is a fake GitHub for tests.
//
// # Attacks
//
// [Config.Throttling] limits the sign-in attempts of each client address. For a correct secret that
// this package generated, only one limit applies: the client address must not flood the service.
// [Config.Proxies] names the proxies that are trusted to report the client address.
//
// [Config.OnEvent] receives the events, which are sign-ins, refusals and lasting changes. An event
// names the user who caused it. The event of a refusal also gives the reason. If OnEvent is nil,
// events go to the log.
//
// # Tests of a host
//
// In a test, [Service.Register] makes a user, and [Service.SignIn] makes a token for the user. If
// the test uses package memstore, it needs no database. In a test, the secret of a signing key can be
// []byte(rand.Text() + rand.Text()), with Text of crypto/rand. [NewHS256Key] refuses a text such as
// "test-secret". The Logger below keeps events out of the output of the test. Package githubtest is a
// fake GitHub. docs/testing.md has more tests, also with time that passes.
//
//	svc, err := auth.New(memstore.New(), auth.Config{
//		Issuer:      "https://api.example.com",
//		SigningKeys: []auth.SigningKey{key},
//		Proxies:     auth.NoProxies(),
//		Logger:      slog.New(slog.DiscardHandler),
//	})
//	…
//	made, err := svc.Register(ctx, auth.ByHost("test"), auth.UserParams{Username: "alice"})
//	…
//	token, err := svc.SignIn(ctx, made.User.ID, auth.LoginOptions{})
//	…
//	request.Header.Set("Authorization", "Bearer "+token.Bearer.Reveal())
//
// # Other routers and protocols
//
// [Service.Routes] lists the calls for routers other than [http.ServeMux]. [Service.Route] returns one
// of them, which you can mount at a path of your own.
//
// If a protocol cannot use HTTP middleware, call these functions. [Service.Identify] returns the
// caller of a request, [Service.IdentifyContext] puts the caller into the context,
// [Identity.CheckScope] requires a scope, and [Service.SuperUser] requires a super user. [ErrorStatus]
// returns the HTTP status and the text for an error of these functions. [Service.Login] exchanges an
// access key and its secret for a token.
//
// # Composing the components
//
// A Service consists of a [TokenIssuer], a [CredentialVerifier] and, if GitHub is configured, a
// [GitHubConnector]. Each component needs only its part of the store, and can be used alone. If
// components share one [EventLog] and one TokenIssuer, they emit the same events and call the same
// hooks as a Service. They also reject a revoked session as soon as a Service does.
//
// # Importing users
//
// [Service.ImportUsers] adds users with the access keys that they have in another system. It reads
// one user from each line of JSON. The hashes of the secrets can be bcrypt, argon2id or SHA-256
// hashes. An import that was interrupted can be repeated from the start.
//
// # Secrets
//
// Types that carry a secret print as "[redacted]". The store contains only hashes of access
// secrets. A generated secret has 256 random bits, so a fast hash is enough. If
// CredentialConfig.Peppers is set, the hash also depends on a key that is not in the store.
//
// A host can import secrets that people chose, and bcrypt or argon2id hashes of secrets from
// another system. To verify such a secret, an instance computes a slow hash. Only a few slow hashes
// are computed at the same time, and the queue of waiting attempts is limited.
//
// # Writing a store
//
// The documentation of [AccountStore] has the rules for a store. Package storekit has the rules that are the
// same in every store, as functions, and the limits of a store. Package storetest tests a store. Before a
// store writes a record, it calls the record's Validate method. It compares names in the form that
// [FoldASCII] returns. It can keep the text of a [ScopeSet], and read it with [ParseScopes].
package auth
