package storekit_test

import (
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// A method of a store checks the authority of a change in its transaction, after it has locked the records.
// Here, AddKey is called for a session that may manage access keys and read reports.
func ExampleActing() {
	now := time.Date(2026, 1, 5, 14, 0, 0, 0, time.UTC) // the store has called the Now of the Write
	by := auth.Authority{SessionID: "s1", UserID: "alice", Scope: auth.ScopeKeys}
	acting := storekit.Acting{ // what the store has read
		By:  by,
		Now: now,
		Session: auth.Session{ID: "s1", UserID: "alice", ExpiresAt: now.Add(time.Hour),
			Scopes: auth.NewScopes(auth.ScopeKeys, "reports:read")},
		User: auth.User{ID: "alice", IsActive: true},
	}

	addKey := func(owner auth.User, scopes *auth.ScopeSet) error {
		if err := acting.Check(); err != nil {
			return err
		}
		if err := by.CheckOwner(owner.ID); err != nil {
			return err
		}
		return acting.CheckKeyGrant(owner, scopes)
	}
	fmt.Println("the same scopes:", addKey(acting.User, auth.NewScopes("reports:read")))
	fmt.Println("a further scope:", addKey(acting.User, auth.NewScopes("reports:write")))
	fmt.Println("another user:", addKey(auth.User{ID: "bob"}, auth.NewScopes("reports:read")))
	acting.RevokedBelow = 8 // an entry of the revocation feed revokes all earlier sessions of the user
	fmt.Println("a revoked session:", addKey(acting.User, auth.NewScopes("reports:read")))
	// Output:
	// the same scopes: <nil>
	// a further scope: auth: reports:write is needed
	// another user: auth: Authority.SuperUser must be set to change another user's record: auth: not found
	// a revoked session: auth: token rejected: no such session
}

// CreateSession stores the session that the access key may open: not longer than the key works, and with no
// more scopes.
func ExampleOpenSession() {
	now := time.Date(2026, 1, 5, 14, 0, 0, 0, time.UTC)
	key := auth.AccessKey{ID: "k1", UserID: "alice", ExpiresAt: now.Add(time.Hour),
		Scopes: auth.NewScopes("reports:read")}
	session, err := storekit.OpenSession(auth.Session{ID: "s1", UserID: "alice", AccessKeyID: "k1",
		CreatedAt: now, ExpiresAt: now.Add(12 * time.Hour)}, key)
	fmt.Println(session.ExpiresAt.Sub(now), session.Scopes, err)
	// Output: 1h0m0s reports:read <nil>
}
