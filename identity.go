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

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/clientaddr"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/text"
)

// Identity says who is calling, and in which session. It comes from a verified token and is
// as old as the token: what a user may do is read from the store, with [Service.User] or
// [Service.RequireSuperUser].
type Identity struct {
	UserID    string // authorize by this
	Username  string // as it was when the token was issued
	SessionID string
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// BearerToken returns the token of the request's one Authorization header (RFC 6750, section 2.1),
// for [TokenIssuer.Verify]. It returns ErrTokenMissing if there is none, or one of another scheme,
// and ErrTokenRejected if there are several. A token in the query or in a form is not looked for,
// because it would end up in logs.
func BearerToken(r *http.Request) (string, error) {
	lines := r.Header["Authorization"]
	if len(lines) == 0 {
		return "", ErrTokenMissing
	}
	if len(lines) > 1 { // Header.Get takes the first, a proxy in front perhaps the last
		return "", fmt.Errorf("%w: more than one Authorization header", ErrTokenRejected)
	}
	token, usual := strings.CutPrefix(lines[0], "Bearer ") // the spelling of nearly every client
	if !usual {
		var scheme string
		if scheme, token, _ = strings.Cut(lines[0], " "); !strings.EqualFold(scheme, "Bearer") {
			return "", ErrTokenMissing
		}
	}
	return strings.TrimLeft(token, " "), nil
}

// Authority returns the authority of the identity's session, for changes that its user may make.
// Set its SuperUser for a change that only super users may make.
func (i Identity) Authority() Authority {
	return Authority{SessionID: i.SessionID, UserID: i.UserID}
}

// IdentityFromContext returns the caller of the request that the context belongs to. It
// returns false if no middleware of this package has authenticated the request.
func IdentityFromContext(ctx context.Context) (Identity, bool) {
	caller := callerOf(ctx)
	if caller == nil {
		return Identity{}, false
	}
	return *caller.identity, true
}

// WithIdentity returns a context with the caller in it, for [IdentityFromContext] and for the
// ActorID of events: for the middleware of a host that composes the components by hand, with the
// Identity of [TokenIssuer.Verify]. No Service takes its word: [Service.User] returns
// ErrTokenMissing unless a middleware of that Service has authenticated the request.
func WithIdentity(ctx context.Context, identity Identity) context.Context {
	return context.WithValue(ctx, callerKey{}, &callerContext{identity: &identity})
}

// WithClientInfo returns a context with the client. Sessions that are opened in it record the
// client, attempts to sign in count as the client's, and events name it. UserAgent and
// RequestID are cut to 256 bytes of readable text. The handlers of [Service] call it
// themselves, unless the request's context has a client already; it is for hosts that know
// better, or that call [Service.Login] and the like from code of their own.
func WithClientInfo(ctx context.Context, client ClientInfo) context.Context {
	return context.WithValue(ctx, clientKey{}, client.readable())
}

// readable returns the client as it is kept and logged.
func (c ClientInfo) readable() ClientInfo {
	return ClientInfo{
		Address:   clientaddr.Normalize(c.Address),
		UserAgent: text.Readable(c.UserAgent, maxUserAgentLength),
		RequestID: text.Readable(c.RequestID, maxUserAgentLength),
		peer:      c.peer,
	}
}

// network returns the network under which the client has its share of what is scarce. Clients whose
// addresses are not known are counted by their peer, and all clients without either are one.
func (c ClientInfo) network() netip.Addr {
	if !c.Address.IsValid() {
		return clientaddr.Network(c.peer)
	}
	return clientaddr.Network(c.Address)
}

type clientKey struct{}

// clientOf returns the client of the context, or the zero ClientInfo.
func clientOf(ctx context.Context) ClientInfo {
	client, _ := ctx.Value(clientKey{}).(ClientInfo)
	return client
}

// clientOfRequest returns the client that sends the request: the one that [WithClientInfo]
// has put into its context, or else what the request says of it.
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

// callerContext is the context of a request with the caller in it, and with the client, which
// is resolved only if an event asks. It is one allocation for each request, where
// context.WithValue would need several.
type callerContext struct {
	request  *http.Request        // whose context it extends
	clients  *clientaddr.Resolver // of the Service that vouches for the caller; nil if none does
	identity *Identity
}

type callerKey struct{}

// callerOf returns the caller of the context, or nil.
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

// userContext is the context of a caller whose record a middleware has read from the store.
// It is a type of its own because every request has a callerContext and few have this.
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

// Proxies says which reverse proxies stand in front of a service, and so whose
// X-Forwarded-For is believed. Make one with [NoProxies] or [TrustProxies].
//
// The zero value means that the host has not decided. A request that carries X-Forwarded-For
// then has no known client address, because the peer may be a proxy shared by all clients,
// and the log warns once. Such clients share one budget: see [Throttling].
type Proxies struct {
	decided  bool
	none     bool // by NoProxies
	networks []netip.Prefix
}

// NoProxies says that clients connect to the service themselves: the client address is that of
// the connection, and X-Forwarded-For is not believed.
func NoProxies() Proxies { return Proxies{decided: true, none: true} }

// TrustProxies says that X-Forwarded-For is believed if it comes from one of the networks.
// The client address is the last one in it that is in none of them. [New] returns an error if there
// is no prefix, or one that is invalid or contains every address.
func TrustProxies(prefixes ...netip.Prefix) Proxies {
	return Proxies{decided: true, networks: slices.Clone(prefixes)}
}

// resolver returns a resolver of client addresses behind the proxies, or an error that says what to
// change. Each Service has a resolver of its own, which also identifies the Service in a request's
// context.
func (p Proxies) resolver(log *slog.Logger) (*clientaddr.Resolver, error) {
	if p.decided && !p.none && len(p.networks) == 0 {
		return nil, errors.New("auth: Config.Proxies: TrustProxies has no networks: " +
			"name those of the proxies, or set NoProxies")
	}
	proxies := clientaddr.Proxies{Decided: p.decided, Trusted: p.networks}
	resolver, err := clientaddr.NewResolver(proxies, log)
	if err != nil {
		return nil, fmt.Errorf("auth: Config.Proxies: %w", err)
	}
	return resolver, nil
}

// UserSource is a host's own users table: see [NewWithUsers]. Its methods are safe for
// concurrent use. If a method cannot answer, it returns an error that is not ErrNotFound, and
// nobody is signed in; a panic counts as such an error. The methods get the context of the
// call, with what is left of its time, and must heed it.
//
// A session is opened first and the user is looked up then, so that no user who is disabled
// at the same moment slips in. A host that disables or deletes a user must therefore change
// its table first and call [Service.RevokeUser] then. FindUser must see at once what the host
// has written: behind a cache or a replica, a disabled user does slip in.
type UserSource interface {
	// FindUser returns the user with this ID, or ErrNotFound. Its IsActive and IsSuperUser
	// decide at every sign-in and on every call that only super users may make. The ID must
	// be the requested one. The Username must be at most 128 bytes of text, because it goes
	// into tokens. The other fields are only shown by GET /auth/user and may be zero, except
	// that a zero CreatedAt is shown as the year 1.
	FindUser(ctx context.Context, id string) (User, error)

	// ResolveGitHub returns the ID of the user who signs in with this GitHub account from now
	// on, adding one if the host likes, or ErrNotFound to refuse the account. It is called for
	// accounts that are linked to nobody, before the link is written. So it may be called
	// again for the same account, also concurrently, and must then return the same ID. The
	// e-mail is the account's verified primary one, or empty. It is an address to write to
	// and identifies nobody: never choose a user because the e-mail is the same.
	ResolveGitHub(ctx context.Context, profile GitHubProfile, email string) (userID string, err error)
}

// errHostUsers is what the methods return that a Service over a [UserSource] lacks.
var errHostUsers = errors.New("auth: the Service was made with NewWithUsers: change users in the host's " +
	"own table")

// userFinder finds users: a UserStore, or a host's own table.
type userFinder interface {
	FindUser(ctx context.Context, id string) (User, error)
}

// hasUsers reports whether the store keeps users.
func hasUsers(store any) bool {
	_, ok := store.(UserStore)
	return ok
}

// keepsNoUsers reports whether the store is for a host with a users table of its own. A store of one
// role may not show it.
func keepsNoUsers(store any) bool {
	_, accounts := store.(AccountStore)
	return accounts && !hasUsers(store)
}

// checkUserSource returns an error unless users are kept in one place: in the source if there
// is one, and else in the store. A store of one role may not show whether it keeps users;
// then the host is believed.
func checkUserSource(store any, source UserSource) error {
	switch {
	case source != nil && defaults.IsNil(source):
		return errors.New("auth: the UserSource is a nil pointer: pass the host's own users table")
	case source != nil && hasUsers(store):
		return errors.New("auth: there is a UserSource and the store keeps users too: pass an " +
			"AccountStore, such as memstore.NewAccounts")
	case source == nil && keepsNoUsers(store):
		return errors.New("auth: the store keeps no users: pass a Store, or use the constructor with a " +
			"UserSource")
	}
	return nil
}

// hostUsers calls the functions of a UserSource. Whatever they do becomes one of the answers
// that they may give, or an error that is none of this package's answers.
type hostUsers struct{ source UserSource }

// FindUser returns the user with this ID, or ErrNotFound.
func (h hostUsers) FindUser(ctx context.Context, id string) (user User, err error) {
	defer callback.Recover("UserSource.FindUser", func(failure error) { user, err = User{}, failure })
	user, err = h.source.FindUser(ctx, id)
	switch {
	case err != nil:
		return User{}, hostError("FindUser", err)
	case user.ID != id:
		return User{}, errors.New("auth: UserSource.FindUser returned another user than the requested one")
	case checkText("username", user.Username, maxUsernameLength) != nil:
		return User{}, fmt.Errorf("auth: UserSource.FindUser returned a Username that is not text of at "+
			"most %d bytes", maxUsernameLength)
	}
	return user, nil
}

// activeUser returns the user with this ID, ErrNotFound, or ErrUserDisabled.
func (h hostUsers) activeUser(ctx context.Context, id string) (User, error) {
	user, err := h.FindUser(ctx, id)
	switch {
	case err != nil:
		return User{}, err
	case !user.IsActive:
		return User{}, ErrUserDisabled
	}
	return user, nil
}

// resolve returns the ID of the active user whom the host assigns to a GitHub account,
// ErrNotFound, or ErrUserDisabled.
func (h hostUsers) resolve(ctx context.Context, profile GitHubProfile, email string) (string, error) {
	id, err := h.resolveID(ctx, profile, email)
	if err != nil {
		return "", err
	}
	_, err = h.activeUser(ctx, id)
	return id, err
}

func (h hostUsers) resolveID(
	ctx context.Context, profile GitHubProfile, email string,
) (id string, err error) {
	defer callback.Recover("UserSource.ResolveGitHub", func(failure error) { id, err = "", failure })
	id, err = h.source.ResolveGitHub(ctx, profile, email)
	switch {
	case err != nil:
		return "", hostError("ResolveGitHub", err)
	case checkID("user_id", id, MaxIDLength) != nil:
		return "", fmt.Errorf("auth: UserSource.ResolveGitHub returned an ID that is not text of 1 to "+
			"%d bytes", MaxIDLength)
	}
	return id, nil
}

// hostError returns ErrNotFound as it is, and every other error as one that answers 503: an
// error that happens to wrap an answer of this package, such as that of another store, is not
// that answer here.
func hostError(name string, err error) error {
	if status, _ := ErrorStatus(err); status != http.StatusServiceUnavailable &&
		!errors.Is(err, ErrNotFound) {
		return fmt.Errorf("auth: UserSource.%s: %v", name, err)
	}
	return fmt.Errorf("auth: UserSource.%s: %w", name, err)
}
