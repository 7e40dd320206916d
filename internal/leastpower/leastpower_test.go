package leastpower_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/memstore"
)

var discard = slog.New(slog.DiscardHandler)

// The flags of package rapid set the number of sequences and repeat a failure, for example
// -rapid.checks=10000.
func TestNothingDoesMoreThanItsOrigin(t *testing.T) {
	t.Parallel()
	length := testenv.Rounds(t, testenv.Counts{Small: 15, Moderate: 30, Full: 100})
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t, memstore.New())
		defer w.server.Close()
		for range length {
			err := w.step(func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "") })
			if err != nil {
				r.Fatal(err)
			}
		}
	})
}

// brokenStore is a store that breaks a rule. The functions that are not nil change the arguments of the
// store's methods.
type brokenStore struct {
	auth.Store
	addKey       func(auth.Write, auth.AccessKey) (auth.Write, auth.AccessKey)
	created      func(auth.Session) auth.Session
	found        func(auth.User) auth.User
	rotated      func(auth.AccessKey) auth.AccessKey
	newUser      func(auth.User) auth.User
	setKeyScopes func(context.Context, auth.Store, auth.Write, string, *auth.ScopeSet) (auth.AccessKey, error)
	register     func(auth.Write) auth.Write
	updateUser   func(auth.Write) auth.Write
	resetUser    func(auth.Write) auth.Write
	rotateKey    func(auth.Write) auth.Write
	revokeKey    func(auth.Write) auth.Write
}

func (b brokenStore) AddKey(ctx context.Context, w auth.Write, key auth.AccessKey) error {
	if b.addKey != nil {
		w, key = b.addKey(w, key)
	}
	return b.Store.AddKey(ctx, w, key)
}

func (b brokenStore) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	session, user, err := b.Store.CreateSession(ctx, session, limit)
	if b.created != nil {
		session = b.created(session)
	}
	return session, user, err
}

func (b brokenStore) FindUser(ctx context.Context, id string) (auth.User, error) {
	user, err := b.Store.FindUser(ctx, id)
	if b.found != nil {
		user = b.found(user)
	}
	return user, err
}

func (b brokenStore) SetKeyScopes(
	ctx context.Context, w auth.Write, id string, scopes *auth.ScopeSet,
) (auth.AccessKey, error) {
	if b.setKeyScopes != nil {
		return b.setKeyScopes(ctx, b.Store, w, id, scopes)
	}
	return b.Store.SetKeyScopes(ctx, w, id, scopes)
}

func (b brokenStore) Register(ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey) error {
	return b.Store.Register(ctx, changed(b.register, w), changed(b.newUser, user), key)
}

func (b brokenStore) UpdateUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange,
) (auth.User, error) {
	return b.Store.UpdateUser(ctx, changed(b.updateUser, w), id, change)
}

func (b brokenStore) ResetUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange, key auth.AccessKey,
) (auth.User, []auth.GitHubToken, error) {
	if b.resetUser != nil {
		w, key.Scopes = b.resetUser(w), nil
	}
	return b.Store.ResetUser(ctx, w, id, change, key)
}

func (b brokenStore) RotateKey(
	ctx context.Context, w auth.Write, id string, rotation auth.KeyRotation,
) (auth.AccessKey, error) {
	key, err := b.Store.RotateKey(ctx, changed(b.rotateKey, w), id, rotation)
	if err == nil && b.rotated != nil {
		key = b.rotated(key)
	}
	return key, err
}

func (b brokenStore) RevokeKey(ctx context.Context, w auth.Write, id string) error {
	return b.Store.RevokeKey(ctx, changed(b.revokeKey, w), id)
}

func changed[T any](change func(T) T, value T) T {
	if change != nil {
		return change(value)
	}
	return value
}

// A store that breaks one rule must not pass.
func TestEachBrokenRuleIsNoticed(t *testing.T) {
	t.Parallel()
	byHost := func(w auth.Write) auth.Write { // as if the store did not check the session
		w.By = auth.ByHost("broken")
		return w
	}
	for name, broken := range map[string]brokenStore{
		"a key made by a limited session has no limit": {addKey: func(
			w auth.Write, k auth.AccessKey,
		) (auth.Write, auth.AccessKey) {
			k.Scopes = nil
			return byHost(w), k
		}},
		"a key may be wider than the session": {addKey: func(
			w auth.Write, k auth.AccessKey,
		) (auth.Write, auth.AccessKey) {
			return byHost(w), k
		}},
		"a session does not get the key's scopes": {created: func(s auth.Session) auth.Session {
			s.Scopes = nil
			return s
		}},
		"new scopes leave the sessions of the key": {setKeyScopes: func(
			_ context.Context, store auth.Store, _ auth.Write, id string, _ *auth.ScopeSet,
		) (auth.AccessKey, error) {
			key, _, err := store.FindKey(context.Background(), id)
			return key, err
		}},
		"new scopes may be wider than the session": {setKeyScopes: func(
			ctx context.Context, store auth.Store, w auth.Write, id string, scopes *auth.ScopeSet,
		) (auth.AccessKey, error) {
			return store.SetKeyScopes(ctx, byHost(w), id, scopes)
		}},
		"a limited session registers super users": {register: byHost},
		"a limited session promotes and enables":  {updateUser: byHost},
		"a reset gives a key without a limit":     {resetUser: byHost},
		"a limited session rotates a wider key":   {rotateKey: byHost},
		"a limited session revokes a wider key":   {revokeKey: byHost},
		"a service user gets delegated tokens for all services": {found: func(u auth.User) auth.User {
			if u.IsService {
				u.Audiences = strings.Join(audiences, " ")
			}
			return u
		}},
		"a person gets delegated tokens": {found: func(u auth.User) auth.User {
			if !u.IsSuperUser { // otherwise, nobody could be recovered
				u.IsService, u.Audiences = true, strings.Join(audiences, " ")
			}
			return u
		}},
		"a disabled service user gets delegated tokens": {found: func(u auth.User) auth.User {
			u.IsActive = true
			return u
		}},
		"a session for another service is also for this one": {created: func(s auth.Session) auth.Session {
			s.Audience = ""
			return s
		}},
		"a service user is a person": {newUser: func(u auth.User) auth.User {
			u.IsService, u.Audiences, u.CreatedBy = false, "", ""
			return u
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken.Store = memstore.New()
			w := newWorld(t, broken)
			defer w.server.Close()
			random := rand.New(rand.NewPCG(1, 2))
			var err error
			steps := 0
			for ; err == nil && steps < 5000; steps++ {
				err = w.step(random.IntN)
			}
			require.Error(t, err)
			t.Logf("after %d steps: %v", steps, err)
		})
	}
}
