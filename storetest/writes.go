package storetest

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

// tokenLifetime is the MaxTokenLifetime of every write. It is longer than most sessions of the
// tests and shorter than some.
const tokenLifetime = 2 * time.Hour

// writeBy returns a write with this authority at the given time.
func writeBy(by auth.Authority, at time.Time) auth.Write {
	return auth.Write{By: by, Now: func() time.Time { return at }, MaxTokenLifetime: tokenLifetime}
}

// byHost returns a write by the host at the given time.
func byHost(at time.Time) auth.Write { return writeBy(auth.ByHost("storetest"), at) }

// bySession returns a write by the user of the session at the given time.
func bySession(session auth.Session, at time.Time) auth.Write {
	return writeBy(auth.Authority{SessionID: session.ID, UserID: session.UserID}, at)
}

// bySuperUser returns a write by a super user's session at the given time.
func bySuperUser(session auth.Session, at time.Time) auth.Write {
	write := bySession(session, at)
	write.By.SuperUser = true
	return write
}

// connecting is a call of ConnectGitHub.
type connecting struct {
	write auth.Write
	auth.GitHubConnectWrite
}

func (c connecting) call(ctx context.Context, store auth.AccountStore) error {
	return store.ConnectGitHub(ctx, c.write, c.GitHubConnectWrite)
}

// laterOf returns the later of two times.
func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
