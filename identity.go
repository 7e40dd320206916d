package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/clientaddr"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/text"
)

// Identity describes the caller of a request and the caller's session. An Identity comes from a
// verified token, so it shows the user as of the time when the token was issued. To read the user's
// current rights from the store, use [Service.User] or [Service.RequireSuperUser].
type Identity struct {
	UserID    string    `json:"user_id"`  // authorize by this ID: unlike a username, it never changes
	Username  string    `json:"username"` // as it was when the token was issued
	SessionID string    `json:"session_id"`
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"`

	// Limited is true if the token has scopes, and so may do only what they allow: see [ScopeSet]. Scope
	// then has these scopes in ascending order, separated by single spaces. If Limited is false, the token
	// may do everything that its user may do, and Scope is empty. To decide about a request, call HasScope,
	// which heeds both fields.
	Limited bool   `json:"limited,omitzero"`
	Scope   string `json:"scope,omitzero"`

	// AccessKeyID is the ID of the access key that opened the session. It is empty if Limited is false, or
	// if no access key opened the session.
	AccessKeyID string `json:"access_key,omitzero"`

	// Claims is the JSON object that [TokenConfig.Claims] returned when the token was issued, or empty. It
	// is text, so that an Identity can be compared. Read it with json.Unmarshal.
	Claims string `json:"claims,omitzero"`

	Audience string `json:"audience,omitzero"` // the aud claim, which is the issuer or a service
	Actor    string `json:"actor,omitzero"`    // the [Delegation.For] of a delegated token, or empty
}

// BearerToken returns the token in the Authorization header of the request (RFC 6750, section 2.1),
// for [TokenIssuer.Verify]. It returns ErrTokenMissing if there is no Authorization header or if
// the header has a scheme other than Bearer. It returns ErrTokenRejected if there is more than one
// Authorization header. It does not look for a token in the query or in a form, because tokens
// there end up in logs.
func BearerToken(r *http.Request) (string, error) {
	lines := r.Header["Authorization"]
	if len(lines) == 0 {
		return "", ErrTokenMissing
	}
	if len(lines) > 1 { // the server and a proxy in front of it could each pick a different one
		return "", fmt.Errorf("%w: more than one Authorization header", ErrTokenRejected)
	}
	token, usual := strings.CutPrefix(lines[0], "Bearer ") // the fast path for nearly every client
	if !usual {
		var scheme string
		if scheme, token, _ = strings.Cut(lines[0], " "); !strings.EqualFold(scheme, "Bearer") {
			return "", ErrTokenMissing
		}
	}
	return strings.TrimLeft(token, " "), nil
}

// requireHandler panics if the handler that the host has passed to the named function is nil, as
// http.Handle does. Otherwise, the first request would panic, far from the line with the mistake.
func requireHandler(function string, handler http.Handler) {
	if f, ok := handler.(http.HandlerFunc); handler == nil || ok && f == nil {
		panic("auth: " + function + " needs a handler, not nil")
	}
}

// Authority returns the authority of the identity's session, for changes to the user's own records.
// For a change that only super users may make, set SuperUser in the result. For a change that needs a recent
// sign-in, set MaxAge: [Config.ReauthAfter] is about the HTTP calls of this package.
func (i Identity) Authority() Authority {
	return Authority{SessionID: i.SessionID, UserID: i.UserID, Actor: i.Actor}
}

// IdentityFromContext returns the caller that a middleware of this package, or [WithIdentity], has
// put into ctx. It returns false if ctx has no caller.
func IdentityFromContext(ctx context.Context) (Identity, bool) {
	caller := callerOf(ctx)
	if caller == nil {
		return Identity{}, false
	}
	return *caller.identity, true
}

// WithIdentity returns a context with the identity as the caller. It is for a host that uses a
// [TokenIssuer] without a [Service], and has its own middleware that calls [TokenIssuer.Verify].
// [IdentityFromContext] returns this identity, and events name the identity's user in ActorID. A
// Service does not trust this caller: [Service.User] returns ErrTokenMissing unless a middleware of
// the same Service has authenticated the request.
func WithIdentity(ctx context.Context, identity Identity) context.Context {
	return context.WithValue(ctx, callerKey{}, &callerContext{identity: &identity})
}

// WithClientInfo returns a context that carries the client. If the context is passed to a method
// that opens a session, the session records the client. [Throttling] counts this client's attempts
// to sign in, and events name the client. UserAgent and RequestID are cut to 256 bytes of readable
// text.
//
// The handlers of [Service] read the client from the request, unless the context of the request
// carries a client already. Call WithClientInfo to override what the handlers would read. Also call
// it before the host's own calls of methods such as [Service.Login].
func WithClientInfo(ctx context.Context, client ClientInfo) context.Context {
	return context.WithValue(ctx, clientKey{}, client.readable())
}

// readable returns the client in the form that is stored and logged. The address is normalized.
// UserAgent and RequestID are cut to their maximum length and stripped of control characters.
func (c ClientInfo) readable() ClientInfo {
	return ClientInfo{
		Address:   clientaddr.Normalize(c.Address),
		UserAgent: text.Readable(c.UserAgent, maxUserAgentLength),
		RequestID: text.Readable(c.RequestID, maxUserAgentLength),
		peer:      c.peer,
	}
}

// network returns the network of the client address, for the queue of slow hashes. The queue gives
// the clients of one network only a part of its places. If the client address is not known, network
// returns the network of the connection's peer. If neither is known, network returns the zero Addr.
func (c ClientInfo) network() netip.Addr {
	if !c.Address.IsValid() {
		return clientaddr.Network(c.peer)
	}
	return clientaddr.Network(c.Address)
}

type clientKey struct{}

// clientOf returns the client in the context, or the zero ClientInfo.
func clientOf(ctx context.Context) ClientInfo {
	client, _ := ctx.Value(clientKey{}).(ClientInfo)
	return client
}

// clientOfRequest returns the client that [WithClientInfo] has put into the context of the request.
// If there is none, it reads the client from the request itself.
func clientOfRequest(r *http.Request, clients *clientaddr.Resolver) ClientInfo {
	client, ok := r.Context().Value(clientKey{}).(ClientInfo)
	if !ok {
		client = ClientInfo{Address: clients.Address(r), UserAgent: r.UserAgent(),
			RequestID: r.Header.Get("X-Request-Id")}
	}
	if !client.Address.IsValid() {
		client.peer = clientaddr.Peer(r)
	}
	return client
}

// callerContext is the context of an authenticated request. It carries the caller and the client.
// The client is determined only when code reads the client from the context. A callerContext costs
// one allocation for each request. context.WithValue would cost several allocations.
type callerContext struct {
	request  *http.Request        // the request whose context it extends
	clients  *clientaddr.Resolver // of the Service that authenticated the caller; nil if none did
	identity *Identity
}

type callerKey struct{}

// callerOf returns the callerContext in the context, or nil.
func callerOf(ctx context.Context) *callerContext {
	caller, _ := ctx.Value(callerKey{}).(*callerContext)
	return caller
}

func (c *callerContext) Deadline() (time.Time, bool) { return c.request.Context().Deadline() }
func (c *callerContext) Done() <-chan struct{}       { return c.request.Context().Done() }
func (c *callerContext) Err() error                  { return c.request.Context().Err() }

func (c *callerContext) Value(key any) any {
	switch key {
	case callerKey{}:
		return c
	case clientKey{}:
		if c.clients != nil {
			return clientOfRequest(c.request, c.clients).readable()
		}
	}
	return c.request.Context().Value(key)
}

// userContext is a callerContext that also has the caller's user record, which a middleware has
// read. The type is separate because few requests need the record, and a larger callerContext would
// slow down every request.
type userContext struct {
	callerContext
	user User
}

type userKey struct{}

func (c *userContext) Value(key any) any {
	if key == (userKey{}) {
		return c
	}
	return c.callerContext.Value(key)
}

// Proxies names the reverse proxies in front of a service. The service trusts an X-Forwarded-For
// header only if it comes from one of these proxies. Make a Proxies with [NoProxies] or
// [TrustProxies].
//
// The zero value means that the host has not said whether there are proxies. The client address of
// a request with an X-Forwarded-For header is then unknown, because the connection may come from a
// proxy that all clients share. The service logs one warning, for the first such request. All
// clients without a known address share one budget: see [Throttling].
type Proxies struct {
	decided  bool
	none     bool // made by NoProxies
	networks []netip.Prefix
}

// NoProxies returns the Proxies of a service to which clients connect directly. The client address
// is the address of the connection, and X-Forwarded-For is ignored.
func NoProxies() Proxies { return Proxies{decided: true, none: true} }

// TrustProxies returns the Proxies of a service behind proxies in these networks. If a connection
// comes from one of the networks, the client address is the last address in X-Forwarded-For that is
// in none of the networks. If a connection comes from elsewhere, X-Forwarded-For is ignored. [New]
// returns an error if there is no prefix or if a prefix is invalid or contains every address.
//
// A program that connects through a Unix socket counts as a trusted proxy, whatever the networks are.
// If the service listens only on a Unix socket, name the loopback address, 127.0.0.1/32.
func TrustProxies(prefixes ...netip.Prefix) Proxies {
	return Proxies{decided: true, networks: slices.Clone(prefixes)}
}

// resolver returns a new resolver of client addresses, or an error that says what to change. The
// config argument is the name of the configuration that has the Proxies, for the error. Each Service
// must have its own resolver, because a callerContext identifies its Service by the pointer to the
// resolver.
func (p Proxies) resolver(config string, log *slog.Logger) (*clientaddr.Resolver, error) {
	if p.decided && !p.none && len(p.networks) == 0 {
		return nil, fmt.Errorf("auth: %s.Proxies: TrustProxies has no networks: "+
			"name those of the proxies, or set NoProxies", config)
	}
	proxies := clientaddr.Proxies{Decided: p.decided, Trusted: p.networks}
	resolver, err := clientaddr.NewResolver(proxies, log)
	if err != nil {
		return nil, fmt.Errorf("auth: %s.Proxies: %w", config, err)
	}
	return resolver, nil
}

// UserSource gives a Service access to a host's own users table: see [NewWithUsers]. The methods of
// a UserSource must be safe for concurrent use. Each method receives the context of the call, with
// the remaining time as its deadline, and must return when the context is done. If a method cannot
// answer, it must return an error other than ErrNotFound. If a method returns such an error or
// panics, the sign-in or the request fails.
//
// A host that disables or deletes a user must change its table first and call [TokenIssuer.RevokeUser]
// afterwards. A sign-in opens the session first and calls FindUser afterwards. If a sign-in runs at the
// same time as the change, either FindUser sees the change or RevokeUser revokes the new session. This
// order works only if FindUser sees at once what the host has written. If FindUser reads from a cache or a
// replica, a disabled user can get in.
type UserSource interface {
	// FindUser returns the user with this ID, or ErrNotFound. The result must have the requested
	// ID. IsActive decides whether the user may sign in. IsActive and IsSuperUser decide whether
	// the user may do what only super users may do. The Service calls FindUser again for each
	// sign-in and for each check that the caller is a super user. The Username must be at most 128
	// bytes of text, because it goes into tokens. Only GET /auth/user shows the other fields. They
	// may be zero: a zero time or an empty Email is shown as null.
	FindUser(ctx context.Context, id string) (User, error)

	// ResolveGitHub returns the ID of the user who signs in with this GitHub account from now on,
	// or ErrNotFound to refuse the account. ResolveGitHub may add a user. The Service calls it if
	// the account is not linked to a user. The link is written only after the call returns, so
	// there can be several calls for one account, even at the same time. Each of these calls must
	// return the same ID.
	//
	// The email argument is the verified primary address of the account, or empty. Never choose a
	// user because this address is the user's e-mail: an address does not prove who a person is.
	ResolveGitHub(ctx context.Context, profile GitHubProfile, email string) (userID string, err error)
}

// errHostUsers is the error of the methods that need a store with users, if the Service has a
// [UserSource] instead.
var errHostUsers = errors.New("auth: the Service was made with NewWithUsers: change users in the host's " +
	"own table")

// userFinder finds users in a UserStore or in the host's own table.
type userFinder interface {
	FindUser(ctx context.Context, id string) (User, error)
}

// hasUsers reports whether the store keeps users.
func hasUsers(store any) bool {
	_, ok := store.(UserStore)
	return ok
}

// keepsNoUsers reports whether the store is an AccountStore that keeps no users. The type of a
// store that lacks methods of AccountStore does not show whether the store keeps users. For such a
// store, keepsNoUsers reports false.
func keepsNoUsers(store any) bool {
	_, accounts := store.(AccountStore)
	return accounts && !hasUsers(store)
}

// checkUserSource returns an error if both the store and the source keep users, or neither does. If
// the type of the store does not show whether it keeps users, checkUserSource accepts the store.
func checkUserSource(store any, source UserSource) error {
	switch {
	case source != nil && defaults.IsNil(source):
		return errors.New("auth: the UserSource is a nil pointer: pass the host's own users table")
	case source != nil && hasUsers(store):
		return errors.New("auth: there is a UserSource and the store keeps users too: pass an " +
			"AccountStore, such as memstore.NewAccounts")
	case source == nil && keepsNoUsers(store):
		return errors.New("auth: the store keeps no users: it needs a UserSource in TokenConfig.Users")
	}
	return nil
}
