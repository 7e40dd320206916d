package authtest

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
)

var (
	// ErrStoreAway is the error of a store that does not answer.
	ErrStoreAway = errors.New("the store does not answer")

	// If the callback of a faulty store returns ErrHang, the call waits until its context is done.
	ErrHang = errors.New("hang")
)

// FaultyStore returns a store that passes each call on to the given store. Before each call, the returned
// store calls the given callback with the name of the method. If the callback returns an error, the method
// returns it. The returned store is an [auth.EventStore] if and only if the given store is an EventStore, and
// an [auth.DeviceStore] if and only if the given store is a DeviceStore.
func FaultyStore(store auth.Store, before func(method string) error) auth.Store {
	faulty := &faultyStore{&faultyAccounts{store, before}, store}
	trail, hasTrail := store.(auth.EventStore)
	devices, hasDevices := store.(auth.DeviceStore)
	switch {
	case hasTrail && hasDevices:
		return struct {
			*faultyStore
			*faultyTrail
			*faultyDevices
		}{faulty, &faultyTrail{trail, faulty.check}, &faultyDevices{devices, faulty.check}}
	case hasTrail:
		return struct {
			*faultyStore
			*faultyTrail
		}{faulty, &faultyTrail{trail, faulty.check}}
	case hasDevices:
		return struct {
			*faultyStore
			*faultyDevices
		}{faulty, &faultyDevices{devices, faulty.check}}
	}
	return faulty
}

// FaultyAccounts is like [FaultyStore], for a store that keeps no users.
func FaultyAccounts(store auth.AccountStore, before func(method string) error) auth.AccountStore {
	faulty := &faultyAccounts{store, before}
	trail, hasTrail := store.(auth.EventStore)
	devices, hasDevices := store.(auth.DeviceStore)
	switch {
	case hasTrail && hasDevices:
		return struct {
			*faultyAccounts
			*faultyTrail
			*faultyDevices
		}{faulty, &faultyTrail{trail, faulty.check}, &faultyDevices{devices, faulty.check}}
	case hasTrail:
		return struct {
			*faultyAccounts
			*faultyTrail
		}{faulty, &faultyTrail{trail, faulty.check}}
	case hasDevices:
		return struct {
			*faultyAccounts
			*faultyDevices
		}{faulty, &faultyDevices{devices, faulty.check}}
	}
	return faulty
}

type faultyAccounts struct {
	auth.AccountStore
	before func(method string) error
}

type faultyStore struct {
	*faultyAccounts
	users auth.UserStore
}

func (s *faultyAccounts) check(ctx context.Context, method string) error {
	err := s.before(method)
	if errors.Is(err, ErrHang) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (s *faultyAccounts) PruneGitHubAccounts(
	ctx context.Context, forgotten time.Time, limit int,
) (int, error) {
	if err := s.check(ctx, "PruneGitHubAccounts"); err != nil {
		return 0, err
	}
	return s.AccountStore.PruneGitHubAccounts(ctx, forgotten, limit)
}

func (s *faultyAccounts) ListGitHubAccounts(
	ctx context.Context, userID string,
) ([]auth.GitHubAccount, error) {
	if err := s.check(ctx, "ListGitHubAccounts"); err != nil {
		return nil, err
	}
	return s.AccountStore.ListGitHubAccounts(ctx, userID)
}

func (s *faultyAccounts) ListKeys(ctx context.Context, userID string) ([]auth.AccessKey, error) {
	if err := s.check(ctx, "ListKeys"); err != nil {
		return nil, err
	}
	return s.AccountStore.ListKeys(ctx, userID)
}

func (s *faultyAccounts) ListAllKeys(
	ctx context.Context, after string, limit int,
) ([]auth.AccessKey, error) {
	if err := s.check(ctx, "ListAllKeys"); err != nil {
		return nil, err
	}
	return s.AccountStore.ListAllKeys(ctx, after, limit)
}

func (s *faultyAccounts) RotateKey(
	ctx context.Context, w auth.Write, id string, rotation auth.KeyRotation,
) (auth.AccessKey, error) {
	if err := s.check(ctx, "RotateKey"); err != nil {
		return auth.AccessKey{}, err
	}
	return s.AccountStore.RotateKey(ctx, w, id, rotation)
}

func (s *faultyAccounts) SetKeyScopes(
	ctx context.Context, w auth.Write, id string, scopes *auth.ScopeSet,
) (auth.AccessKey, error) {
	if err := s.check(ctx, "SetKeyScopes"); err != nil {
		return auth.AccessKey{}, err
	}
	return s.AccountStore.SetKeyScopes(ctx, w, id, scopes)
}

func (s *faultyAccounts) TouchKey(ctx context.Context, id string, at time.Time) error {
	if err := s.check(ctx, "TouchKey"); err != nil {
		return err
	}
	return s.AccountStore.TouchKey(ctx, id, at)
}

func (s *faultyAccounts) ListSessions(
	ctx context.Context, userID string, now time.Time,
) ([]auth.Session, error) {
	if err := s.check(ctx, "ListSessions"); err != nil {
		return nil, err
	}
	return s.AccountStore.ListSessions(ctx, userID, now)
}

func (s *faultyAccounts) AddKey(ctx context.Context, w auth.Write, key auth.AccessKey) error {
	if err := s.check(ctx, "AddKey"); err != nil {
		return err
	}
	return s.AccountStore.AddKey(ctx, w, key)
}

func (s *faultyAccounts) FindKey(ctx context.Context, id string) (auth.AccessKey, auth.User, error) {
	if err := s.check(ctx, "FindKey"); err != nil {
		return auth.AccessKey{}, auth.User{}, err
	}
	return s.AccountStore.FindKey(ctx, id)
}

func (s *faultyAccounts) SwapHash(ctx context.Context, id, old, new string) error {
	if err := s.check(ctx, "SwapHash"); err != nil {
		return err
	}
	return s.AccountStore.SwapHash(ctx, id, old, new)
}

func (s *faultyAccounts) RevokeKey(ctx context.Context, w auth.Write, id string) error {
	if err := s.check(ctx, "RevokeKey"); err != nil {
		return err
	}
	return s.AccountStore.RevokeKey(ctx, w, id)
}

func (s *faultyAccounts) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	if err := s.check(ctx, "CreateSession"); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return s.AccountStore.CreateSession(ctx, session, limit)
}

func (s *faultyAccounts) FindSession(ctx context.Context, id string) (auth.Session, error) {
	if err := s.check(ctx, "FindSession"); err != nil {
		return auth.Session{}, err
	}
	return s.AccountStore.FindSession(ctx, id)
}

func (s *faultyAccounts) RevokeSession(ctx context.Context, w auth.Write, id string) error {
	if err := s.check(ctx, "RevokeSession"); err != nil {
		return err
	}
	return s.AccountStore.RevokeSession(ctx, w, id)
}

func (s *faultyAccounts) RevokeUserSessions(
	ctx context.Context, w auth.Write, userID string,
) (int, error) {
	if err := s.check(ctx, "RevokeUserSessions"); err != nil {
		return 0, err
	}
	return s.AccountStore.RevokeUserSessions(ctx, w, userID)
}

func (s *faultyAccounts) RevokeOtherSessions(ctx context.Context, w auth.Write) (int, error) {
	if err := s.check(ctx, "RevokeOtherSessions"); err != nil {
		return 0, err
	}
	return s.AccountStore.RevokeOtherSessions(ctx, w)
}

func (s *faultyAccounts) ExtendSession(
	ctx context.Context, w auth.Write, until time.Time,
) (auth.Session, auth.User, error) {
	if err := s.check(ctx, "ExtendSession"); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return s.AccountStore.ExtendSession(ctx, w, until)
}

func (s *faultyAccounts) RevokeToken(ctx context.Context, claims auth.SessionClaims) error {
	if err := s.check(ctx, "RevokeToken"); err != nil {
		return err
	}
	return s.AccountStore.RevokeToken(ctx, claims)
}

func (s *faultyAccounts) RevokeEverybody(ctx context.Context, w auth.Write, above int64) error {
	if err := s.check(ctx, "RevokeEverybody"); err != nil {
		return err
	}
	return s.AccountStore.RevokeEverybody(ctx, w, above)
}

func (s *faultyAccounts) RevocationHead(ctx context.Context) (int64, error) {
	if err := s.check(ctx, "RevocationHead"); err != nil {
		return 0, err
	}
	return s.AccountStore.RevocationHead(ctx)
}

func (s *faultyAccounts) PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := s.check(ctx, "PruneSessions"); err != nil {
		return 0, err
	}
	return s.AccountStore.PruneSessions(ctx, expired, limit)
}

func (s *faultyAccounts) PruneKeys(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := s.check(ctx, "PruneKeys"); err != nil {
		return 0, err
	}
	return s.AccountStore.PruneKeys(ctx, expired, limit)
}

func (s *faultyAccounts) PrunePreviousHashes(
	ctx context.Context, ended time.Time, limit int,
) (int, error) {
	if err := s.check(ctx, "PrunePreviousHashes"); err != nil {
		return 0, err
	}
	return s.AccountStore.PrunePreviousHashes(ctx, ended, limit)
}

func (s *faultyAccounts) ListRevocations(
	ctx context.Context, from int64, limit int,
) ([]auth.Revocation, error) {
	if err := s.check(ctx, "ListRevocations"); err != nil {
		return nil, err
	}
	return s.AccountStore.ListRevocations(ctx, from, limit)
}

func (s *faultyAccounts) PruneRevocations(
	ctx context.Context, expired time.Time, limit int,
) (int, error) {
	if err := s.check(ctx, "PruneRevocations"); err != nil {
		return 0, err
	}
	return s.AccountStore.PruneRevocations(ctx, expired, limit)
}

func (s *faultyAccounts) Ping(ctx context.Context) error {
	if err := s.check(ctx, "Ping"); err != nil {
		return err
	}
	return s.AccountStore.Ping(ctx)
}

func (s *faultyAccounts) PruneStates(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := s.check(ctx, "PruneStates"); err != nil {
		return 0, err
	}
	return s.AccountStore.PruneStates(ctx, expired, limit)
}

func (s *faultyAccounts) ConsumeState(ctx context.Context, id string, expiresAt time.Time) error {
	if err := s.check(ctx, "ConsumeState"); err != nil {
		return err
	}
	return s.AccountStore.ConsumeState(ctx, id, expiresAt)
}

func (s *faultyAccounts) FindGitHubLink(
	ctx context.Context, account auth.GitHubAccount,
) (auth.GitHubLink, error) {
	if err := s.check(ctx, "FindGitHubLink"); err != nil {
		return auth.GitHubLink{}, err
	}
	return s.AccountStore.FindGitHubLink(ctx, account)
}

func (s *faultyAccounts) FindGitHubConnection(
	ctx context.Context, userID, host string,
) (auth.GitHubLink, *auth.GitHubToken, error) {
	if err := s.check(ctx, "FindGitHubConnection"); err != nil {
		return auth.GitHubLink{}, nil, err
	}
	return s.AccountStore.FindGitHubConnection(ctx, userID, host)
}

func (s *faultyAccounts) SignInGitHub(
	ctx context.Context, w auth.Write, signIn auth.GitHubSignInWrite,
) (auth.Session, auth.User, error) {
	if err := s.check(ctx, "SignInGitHub"); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return s.AccountStore.SignInGitHub(ctx, w, signIn)
}

func (s *faultyAccounts) ConnectGitHub(
	ctx context.Context, w auth.Write, connect auth.GitHubConnectWrite,
) error {
	if err := s.check(ctx, "ConnectGitHub"); err != nil {
		return err
	}
	return s.AccountStore.ConnectGitHub(ctx, w, connect)
}

func (s *faultyAccounts) UpdateGitHubLink(ctx context.Context, link auth.GitHubLink) error {
	if err := s.check(ctx, "UpdateGitHubLink"); err != nil {
		return err
	}
	return s.AccountStore.UpdateGitHubLink(ctx, link)
}

func (s *faultyAccounts) DeleteGitHubToken(
	ctx context.Context, w auth.Write, userID, host, version string,
) (auth.GitHubToken, error) {
	if err := s.check(ctx, "DeleteGitHubToken"); err != nil {
		return auth.GitHubToken{}, err
	}
	return s.AccountStore.DeleteGitHubToken(ctx, w, userID, host, version)
}

func (s *faultyAccounts) UnlinkGitHub(
	ctx context.Context, w auth.Write, userID, host string,
) (auth.GitHubLink, *auth.GitHubToken, error) {
	if err := s.check(ctx, "UnlinkGitHub"); err != nil {
		return auth.GitHubLink{}, nil, err
	}
	return s.AccountStore.UnlinkGitHub(ctx, w, userID, host)
}

func (s *faultyAccounts) ListGitHubTokens(
	ctx context.Context, host, after string, limit int,
) ([]auth.GitHubToken, error) {
	if err := s.check(ctx, "ListGitHubTokens"); err != nil {
		return nil, err
	}
	return s.AccountStore.ListGitHubTokens(ctx, host, after, limit)
}

func (s *faultyAccounts) LeaseGitHubToken(
	ctx context.Context, userID, host, version string, now, until time.Time,
) (bool, error) {
	if err := s.check(ctx, "LeaseGitHubToken"); err != nil {
		return false, err
	}
	return s.AccountStore.LeaseGitHubToken(ctx, userID, host, version, now, until)
}

func (s *faultyAccounts) ReplaceGitHubToken(
	ctx context.Context, token auth.GitHubToken, oldVersion string,
) error {
	if err := s.check(ctx, "ReplaceGitHubToken"); err != nil {
		return err
	}
	return s.AccountStore.ReplaceGitHubToken(ctx, token, oldVersion)
}

func (s *faultyAccounts) ForgetGitHubAccount(
	ctx context.Context, w auth.Write, account auth.GitHubAccount,
) error {
	if err := s.check(ctx, "ForgetGitHubAccount"); err != nil {
		return err
	}
	return s.AccountStore.ForgetGitHubAccount(ctx, w, account)
}
