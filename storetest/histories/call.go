package histories

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
)

// verb is the name of a method of a store.
type verb string

const (
	register           verb = "Register"
	findUser           verb = "FindUser"
	updateUser         verb = "UpdateUser"
	resetUser          verb = "ResetUser"
	deleteUser         verb = "DeleteUser"
	addKey             verb = "AddKey"
	revokeKey          verb = "RevokeKey"
	createSession      verb = "CreateSession"
	findSession        verb = "FindSession"
	listSessions       verb = "ListSessions"
	revokeSession      verb = "RevokeSession"
	revokeToken        verb = "RevokeToken"
	revokeUserSessions verb = "RevokeUserSessions"
	revokeEverybody    verb = "RevokeEverybody"
	pruneSessions      verb = "PruneSessions"
	revocationHead     verb = "RevocationHead"
	listRevocations    verb = "ListRevocations"
	pruneRevocations   verb = "PruneRevocations"
)

// reads reports whether the verb changes nothing.
func (v verb) reads() bool {
	switch v {
	case findUser, findSession, listSessions, revocationHead, listRevocations:
		return true
	}
	return false
}

// call is a call of a method of a store. A worker process receives it as JSON.
type call struct {
	Verb verb
	By   auth.Authority `json:",omitzero"`

	// User is the user that the call is about. If the call is about a session or a key, User is
	// the owner.
	User    string `json:",omitempty"`
	Session string `json:",omitempty"`
	Key     string `json:",omitempty"`

	// At is the time of the change, or the time in the argument of the method.
	At      time.Time
	Expires time.Time `json:",omitzero"` // when a new session or the token of RevokeToken expires

	Limit      int   `json:",omitempty"`
	Generation int64 `json:",omitempty"` // of the token of RevokeToken
	From       int64 `json:",omitempty"` // the argument of ListRevocations
	Above      int64 `json:",omitempty"` // the argument of RevokeEverybody

	Change      auth.UserChange `json:",omitzero"`
	IsSuperUser bool            `json:",omitempty"` // of a new user

	// Patience is the duration after which the context of the call ends.
	Patience time.Duration

	// optional is set by [history.bounded]. A call with an unknown outcome then took effect before
	// it ended, or never.
	optional bool
}

// answer is the result of a call.
type answer struct {
	// Error is the name of the error that the contract names, or "" if the call succeeded, or
	// unknown.
	Error string `json:",omitempty"`

	Detail   string            `json:",omitempty"` // text of an error
	Sessions []auth.Session    `json:",omitempty"`
	User     auth.User         `json:",omitzero"`
	Count    int               `json:",omitempty"`
	Head     int64             `json:",omitempty"`
	Entries  []auth.Revocation `json:",omitempty"`
}

const (
	// unknown is the Error of a call that failed without an answer. A write may take effect later,
	// or never.
	unknown = "unknown outcome"

	// notSent is the Error of a call that was never made, because no worker process was running.
	notSent = "not sent"
)

// named contains the errors that are answers. All other errors are failures.
var named = []struct {
	name string
	err  error
}{
	{"ErrNotFound", auth.ErrNotFound},
	{"ErrExists", auth.ErrExists},
	{"ErrUserDisabled", auth.ErrUserDisabled},
	{"ErrLastSuperUser", auth.ErrLastSuperUser},
	{"ErrTokenRejected", auth.ErrTokenRejected},
	{"ErrSuperUserRequired", auth.ErrSuperUserRequired},
	{"ErrSessionTooOld", auth.ErrSessionTooOld},
	{"ErrChanged", auth.ErrChanged},
	{"ErrTooManyKeys", auth.ErrTooManyKeys},
	{"ErrInvalid", auth.ErrInvalid},
}

// nameOf returns the Error of an answer for the error.
func nameOf(err error) string {
	if err == nil {
		return ""
	}
	for _, known := range named {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return unknown
}

// tokenLifetime is the MaxTokenLifetime of every write. An entry for all sessions of a user expires
// later than every session and every token, so the entry covers them all.
const tokenLifetime = 6 * time.Hour

// lastTokenEnd returns when the last token has expired that was issued before the call.
func (c call) lastTokenEnd() int64 { return c.At.Add(tokenLifetime).UnixMicro() }

func (c call) write() auth.Write {
	return auth.Write{By: c.By, Now: func() time.Time { return c.At }, MaxTokenLifetime: tokenLifetime}
}

func (c call) newKey() auth.AccessKey {
	return auth.AccessKey{ID: c.Key, UserID: c.User, Hash: "hash", CreatedAt: c.At}
}

func (c call) newUser() auth.User {
	return auth.User{ID: c.User, Username: c.User, IsActive: true, IsSuperUser: c.IsSuperUser,
		CreatedAt: c.At}
}

func (c call) newSession() auth.Session {
	session := auth.Session{ID: c.Session, UserID: c.User, Method: auth.MethodHost, AccessKeyID: c.Key,
		CreatedAt: c.At, ExpiresAt: c.Expires}
	if c.Key != "" {
		session.Method = auth.MethodAccessKey
	}
	return session
}

// on makes the call.
func (c call) on(ctx context.Context, store auth.Store) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	if err := c.make(ctx, store, &a); err != nil {
		return answer{Error: nameOf(err), Detail: err.Error()}
	}
	return a
}

// succeed makes a call that prepares a history, and returns an error unless the call succeeds.
func (c call) succeed(ctx context.Context, store auth.Store) error {
	if a := c.on(ctx, store); a.Error != "" {
		return errors.New(a.Detail)
	}
	return nil
}

func (c call) make(ctx context.Context, store auth.Store, a *answer) (err error) {
	one := func(session auth.Session, err error) error {
		a.Sessions = []auth.Session{session}
		return err
	}
	switch c.Verb {
	case register:
		return store.Register(ctx, c.write(), c.newUser(), c.newKey())
	case findUser:
		a.User, err = store.FindUser(ctx, c.User)
	case updateUser:
		a.User, err = store.UpdateUser(ctx, c.write(), c.User, c.Change)
	case resetUser:
		a.User, _, err = store.ResetUser(ctx, c.write(), c.User, c.Change, c.newKey())
	case deleteUser:
		_, err = store.DeleteUser(ctx, c.write(), c.User)
	case addKey:
		return store.AddKey(ctx, c.write(), c.newKey())
	case revokeKey:
		return store.RevokeKey(ctx, c.write(), c.Key)
	case createSession:
		var session auth.Session
		session, a.User, err = store.CreateSession(ctx, c.newSession(), c.Limit)
		return one(session, err)
	case findSession:
		return one(store.FindSession(ctx, c.Session))
	case listSessions:
		a.Sessions, err = store.ListSessions(ctx, c.User, c.At)
	case revokeSession:
		return store.RevokeSession(ctx, c.write(), c.Session)
	case revokeToken:
		return store.RevokeToken(ctx, auth.SessionClaims{UserID: c.User, SessionID: c.Session,
			Generation: c.Generation, ExpiresAt: c.Expires})
	case revokeUserSessions:
		a.Count, err = store.RevokeUserSessions(ctx, c.write(), c.User)
	case revokeEverybody:
		return store.RevokeEverybody(ctx, c.write(), c.Above)
	case pruneSessions:
		a.Count, err = store.PruneSessions(ctx, c.At, c.Limit)
	case revocationHead:
		a.Head, err = store.RevocationHead(ctx)
	case listRevocations:
		a.Entries, err = store.ListRevocations(ctx, c.From, c.Limit)
	case pruneRevocations:
		a.Count, err = store.PruneRevocations(ctx, c.At, c.Limit)
	default:
		return errors.New("no such verb: " + string(c.Verb))
	}
	return err
}
