package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/outage"
	"github.com/sallyport-go/auth/internal/recent"
)

const (
	// clientTimeout limits how long a sign-in waits until the store has remembered the client.
	clientTimeout = time.Second

	// clientPause is how long sign-ins do not ask the store after it has failed: those of the same user, and
	// those of all users if the store has failed for clientFailedUsers users in a row. So a store that does
	// not answer delays few sign-ins. If only the record of one user cannot be changed, for example because
	// it is locked, sign-ins of the other users still have their events.
	clientPause       = 30 * time.Second
	clientFailedUsers = 3

	// clientRefresh is the time after which an instance remembers a client again. The store removes clients
	// from which no user has signed in for long.
	clientRefresh = 24 * time.Hour

	// clientRetention is the least time for which the store keeps a client. It must be longer than
	// clientRefresh, because a client is as old in the store as the latest refresh.
	clientRetention = 30 * 24 * time.Hour
)

// clientMemory emits an event if a user signs in from a new client. The store remembers the clients of each
// user. Each instance also keeps the clients of the latest sign-ins in memory, so that a sign-in from one of
// them costs no call of the store.
type clientMemory struct {
	sessions SessionStore
	events   *EventLog
	now      func() time.Time
	known    recent.Times[string] // when the store last remembered the client, by its hash
	failures *outage.Tracker
	pauses   clientPauses
}

// newClientMemory returns nil if no event would reach the host.
func newClientMemory(sessions SessionStore, events *EventLog, now func() time.Time) *clientMemory {
	if events == nil || events.trail == nil && events.onEvent == nil {
		return nil
	}
	return &clientMemory{sessions: sessions, events: events, now: now, failures: outage.New(now)}
}

// clientHash returns a hash of the client from which the user signs in, or "" if nothing is known of the
// client. Two requests come from the same client if their networks are the same, and if their User-Agents
// are the same without digits. So a new version of a browser is no new client. The hash depends on the user,
// so that nobody can look for the other users of a client.
func clientHash(userID string, client ClientInfo) string {
	network := ""
	if client.Address.IsValid() {
		network = client.network().String()
	}
	agent := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, client.UserAgent)
	if network == "" && agent == "" {
		return ""
	}
	sum := sha256.Sum256(canonical.Frame("client", userID, agent, network))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// recordSignIn remembers the client of the session that was just opened. If the client is new, recordSignIn
// emits an event. A failure of the store is only logged, because the sign-in has succeeded: the next sign-in
// from the client tries again. For a nil clientMemory, recordSignIn does nothing.
func (m *clientMemory) recordSignIn(ctx context.Context, session Session) {
	if m == nil {
		return
	}
	hash, now := clientHash(session.UserID, clientOf(ctx)), m.now()
	if hash == "" || isWithin(clientRefresh, m.known.Get(hash), now) || m.pauses.has(session.UserID, now) {
		return
	}
	// Without cancellation, because the session exists, even if the client has gone away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clientTimeout)
	defer cancel()
	c := m.events.newChange(ctx, ByHost("auth.SignIn"), Event{Kind: eventkind.NewClient,
		UserID: session.UserID, ActorID: session.UserID, SessionID: session.ID, Method: session.Method}, m.now, 0)
	isNew, err := m.sessions.RememberClient(ctx, c.write, SignInClient{UserID: session.UserID, Hash: hash})
	if errors.Is(err, ErrNotFound) { // the user has just been deleted
		return
	}
	m.log(ctx, err)
	if err != nil {
		m.pauses.fail(session.UserID, now)
		return
	}
	m.pauses.succeed()
	m.known.Set(hash, now)
	if isNew {
		c.recordEvent(ctx)
	}
}

// clientPauses decides for which users the store is not asked to remember a client, because it has failed.
// The zero value has no pauses.
type clientPauses struct {
	users recent.Times[string] // when the store last failed for the user

	mu     sync.Mutex
	inARow []string  // IDs of the latest users for whom the store has failed since it last succeeded
	all    time.Time // when the pause for all users began
}

// has reports whether a pause for the user, or for all users, has begun and has not ended.
func (p *clientPauses) has(userID string, now time.Time) bool {
	if isWithin(clientPause, p.users.Get(userID), now) {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return isWithin(clientPause, p.all, now)
}

// fail begins a pause for the user. If the store has failed for clientFailedUsers users and has not succeeded
// between, fail also begins a pause for all users. After that pause, a failure for one more user is enough.
func (p *clientPauses) fail(userID string, now time.Time) {
	p.users.Set(userID, now)
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.inARow, userID) {
		return
	}
	p.inARow = append(p.inARow, userID)
	if len(p.inARow) >= clientFailedUsers {
		p.inARow, p.all = p.inARow[len(p.inARow)-clientFailedUsers:], now
	}
}

// succeed ends the row of failures. It ends no pause.
func (p *clientPauses) succeed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inARow = nil
}

// isWithin reports whether the given time is in the last d before now. If the clock has been set back, so
// that the time is after now, the result is false.
func isWithin(d time.Duration, at, now time.Time) bool {
	age := now.Sub(at)
	return age >= 0 && age < d
}

// log records whether the store has remembered a client. If a log line is due, log writes it.
func (m *clientMemory) log(ctx context.Context, err error) {
	const operation = "remember"
	log := m.events.logger()
	if err != nil {
		if r, due := m.failures.Fail(operation, 1); due {
			log.WarnContext(ctx, "auth: the client of a sign-in was not remembered: no event says whether "+
				"the client is new", "failures", r.Failures, "since", r.Since, "error", err)
		}
	} else if r, due := m.failures.Succeed(operation); due {
		log.InfoContext(ctx, "auth: clients of sign-ins are remembered again", "failures", r.Failures,
			"lasted", r.Lasted)
	}
}
