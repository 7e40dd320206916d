package storetest

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

// tokenLifetime is the MaxTokenLifetime of every write. Most sessions in the tests last less than
// tokenLifetime, and some last longer.
const tokenLifetime = 2 * time.Hour

// writeBy returns a write at the given time with the given authority.
func writeBy(by auth.Authority, at time.Time) auth.Write {
	return auth.Write{By: by, Now: func() time.Time { return at }, MaxTokenLifetime: tokenLifetime}
}

// byHost returns a write that the host makes at the given time.
func byHost(at time.Time) auth.Write { return writeBy(auth.ByHost("storetest"), at) }

// briefly is a write by the host without a MaxTokenLifetime, so that entries for sessions expire with the
// sessions.
func briefly() auth.Write {
	write := byHost(now)
	write.MaxTokenLifetime = 0
	return write
}

// bySession returns a write that the session makes at the given time, without the authority of a
// super user.
func bySession(session auth.Session, at time.Time) auth.Write {
	return writeBy(auth.Authority{SessionID: session.ID, UserID: session.UserID}, at)
}

// bySuperUser returns a write that the session of a super user makes at the given time.
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
