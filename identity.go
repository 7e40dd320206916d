package auth

import (
	"context"
	"net/http"
	"time"
)

// Identity says who is calling, and in which session. It is made of a verified
// token, and is as old as that: what a user may do is read from the store, with
// [Service.User] or [Service.RequireSuperUser].
type Identity struct {
	UserID    string // authorise by this
	Username  string // as it was when the token was issued
	SessionID string
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// IdentityFromContext returns the caller of the request that the context
// belongs to. It returns false where [Service.Authenticate] did not see the
// request.
func IdentityFromContext(ctx context.Context) (Identity, bool) {
	caller, ok := ctx.Value(callerKey{}).(*callerContext)
	if !ok {
		return Identity{}, false
	}
	return *caller.identity, true
}

// callerContext is the context of a request with the caller in it, and with the client,
// should an event ask: one allocation instead of those that context.WithValue makes, on
// each request.
type callerContext struct {
	request  *http.Request // whose context it is on top of
	service  *Service      // who vouches for the caller, nil for nobody; another service's word is none
	identity *Identity
}

type callerKey struct{}

func (c *callerContext) Deadline() (time.Time, bool) { return c.request.Context().Deadline() }
func (c *callerContext) Done() <-chan struct{}       { return c.request.Context().Done() }
func (c *callerContext) Err() error                  { return c.request.Context().Err() }

func (c *callerContext) Value(key any) any {
	switch key {
	case callerKey{}:
		return c
	case clientKey{}:
		if c.service != nil {
			return c.service.clientInfo(c.request).readable() // or what the host has put into its context
		}
	}
	return c.request.Context().Value(key)
}

// userContext is the context of a caller whose record a middleware has read from
// the store: a type of its own, as every request has the other.
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
