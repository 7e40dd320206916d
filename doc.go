// Package auth is sign-in for a Go service, inside that service: users hold an
// access key and its secret and exchange them for a bearer token, or sign in with
// GitHub.
//
// # A service in a few lines
//
// Choose a store, memstore for a test or sqlstore for a database, make a signing
// key, and mount the calls beside your own routes:
//
//	svc, err := auth.New(store, auth.Config{
//		Issuer:      "https://api.example.com",
//		SigningKeys: []auth.SigningKey{key},
//	})
//	…
//	svc.Mount(mux)
//	mux.Handle("GET /reports", svc.Authenticate(reports))
//	mux.Handle("DELETE /reports", svc.Authenticate(svc.RequireSuperUser(purge)))
//
// Behind [Service.Authenticate], [IdentityFromContext] says who is calling. Give
// rights to Identity.UserID: names change hands, ids do not. [Service.User] reads
// the caller's record from the store.
//
// A new store has no users. [Service.Bootstrap] makes the first super user, who
// registers the others; [Service.RecoverSuperUser] is the way back in when every
// super user's key is lost. Start [Service.Run] in a goroutine of your own, on all
// instances, and it reads ahead which sessions have ended, and removes what has
// expired.
//
// # What a token is
//
// A JWT, signed with HS256, ES256 or EdDSA, good for 12 hours. It names a session,
// and ends with it: by signing out, by [Service.UpdateUser] that disables its user,
// when the key is revoked that opened it. A request costs no read of the store for
// that. Which sessions have ended an instance keeps in memory: its own at once, those
// of other instances within 5 seconds. Where that is too late,
// [Config.CheckSessionsInStore] has the store asked each time.
//
// The is_super_user claim is for clients to show; what a caller may do is read from
// the store each time.
//
// # Keys and sessions
//
// A user has up to 100 access keys, each with a label and an end, and gives one a new
// secret with [CredentialVerifier.Rotate], while the earlier one works on for a time.
// A secret that has leaked is enough to end its key: [CredentialVerifier.RevokeLeaked].
// Sessions say which client opened them ([WithClientInfo]), and there are up to
// [Config.MaxSessions] for a user. When somebody else may be able to sign in as a
// user, [Service.RegenerateCredentials] leaves them nothing. With
// [Config.ReauthAfter], a stolen token makes no key.
//
// # A table of users of your own
//
// A host that has users already sets [Config.Users], over a store that keeps none,
// and calls [Service.RevokeUser] when it has disabled somebody.
//
// # GitHub
//
// With Config.GitHub, users sign in with GitHub and connect their accounts, and
// [GitHubConnector.Client] makes the host's calls to GitHub as one of them. With
// Config.BrowserSessions a browser that has signed in so stays signed in by
// cookie. Package githubtest is a GitHub for tests.
//
// # Under attack, and afterwards
//
// [Config.Throttling] bounds what can be tried from one address; a right generated
// secret is let in throughout, but for a flood from there. [Config.OnEvent] is told of all that happens, who did
// it and why it was refused; unless it is set, the log is. [Config.TrustedProxies] says
// whose word on the address of a client counts.
//
// # In a host's own tests
//
// With memstore, [Service.Register] and [Service.SignIn] give a user and a token
// in two lines; nothing is asked for and nothing needs to run.
//
// # Other routers, and no router
//
// [Service.Routes] lists the calls for routers other than [http.ServeMux], and each
// has a constructor, such as [Service.LoginHandler], for paths of your own. Every
// middleware is a plain function first: [Service.Identify] tells who makes a
// request, [Service.IdentifyContext] puts that into its context, [Service.SuperUser]
// asks for power, and [ErrorStatus] says how to answer when they cannot.
// [Service.Login] is the sign-in itself.
//
// [CredentialVerifier] and [TokenIssuer] are the parts that a Service is wired
// from; each takes only its own role of the store and can be used alone.
//
// # Users from elsewhere
//
// [Service.ImportUsers] adds users with the keys that they have, from JSON lines with
// bcrypt, argon2id or SHA-256 hashes, and goes on after an interruption.
//
// # Secrets
//
// Types that carry a secret print as "[redacted]". The store has hashes of access
// secrets, never the secrets: 256 random bits under a fast hash, with
// CredentialConfig.Peppers under a key that the store does not have. Secrets that
// people chose, or that come from another system with bcrypt or argon2id hashes,
// are imported with their keys and verified in a bounded queue.
package auth
