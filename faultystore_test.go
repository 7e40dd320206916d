package auth_test

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
)

// faultyStore is a store whose every call asks first whether it may succeed, or
// must hang.
type faultyStore struct {
	auth.Store
	before func(method string) error
}

// errHang makes a call wait until its context ends.
var errHang = errors.New("hang")

func (s *faultyStore) check(ctx context.Context, method string) error {
	err := s.before(method)
	if errors.Is(err, errHang) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (s *faultyStore) Register(ctx context.Context, user auth.User, key auth.AccessKey) error {
	if err := s.check(ctx, "Register"); err != nil {
		return err
	}
	return s.Store.Register(ctx, user, key)
}

func (s *faultyStore) RegisterUsers(ctx context.Context, users []auth.UserWithKeys) ([]error, error) {
	if err := s.check(ctx, "RegisterUsers"); err != nil {
		return nil, err
	}
	return s.Store.RegisterUsers(ctx, users)
}

func (s *faultyStore) Bootstrap(ctx context.Context, user auth.User, key auth.AccessKey) error {
	if err := s.check(ctx, "Bootstrap"); err != nil {
		return err
	}
	return s.Store.Bootstrap(ctx, user, key)
}

func (s *faultyStore) FindUser(ctx context.Context, id string) (auth.User, error) {
	if err := s.check(ctx, "FindUser"); err != nil {
		return auth.User{}, err
	}
	return s.Store.FindUser(ctx, id)
}

func (s *faultyStore) ListUsers(ctx context.Context, after string, limit int) ([]auth.User, error) {
	if err := s.check(ctx, "ListUsers"); err != nil {
		return nil, err
	}
	return s.Store.ListUsers(ctx, after, limit)
}

func (s *faultyStore) UpdateUser(ctx context.Context, id string, change auth.UserChange) (auth.User, error) {
	if err := s.check(ctx, "UpdateUser"); err != nil {
		return auth.User{}, err
	}
	return s.Store.UpdateUser(ctx, id, change)
}

func (s *faultyStore) DeleteUser(ctx context.Context, id string) ([]auth.GitHubToken, error) {
	if err := s.check(ctx, "DeleteUser"); err != nil {
		return nil, err
	}
	return s.Store.DeleteUser(ctx, id)
}

func (s *faultyStore) ResetUser(ctx context.Context, id string, change auth.UserChange, key auth.AccessKey) (auth.User, []auth.GitHubToken, error) {
	if err := s.check(ctx, "ResetUser"); err != nil {
		return auth.User{}, nil, err
	}
	return s.Store.ResetUser(ctx, id, change, key)
}

func (s *faultyStore) ListKeys(ctx context.Context, userID string) ([]auth.AccessKey, error) {
	if err := s.check(ctx, "ListKeys"); err != nil {
		return nil, err
	}
	return s.Store.ListKeys(ctx, userID)
}

func (s *faultyStore) RotateKey(ctx context.Context, id string, rotation auth.KeyRotation) (auth.AccessKey, error) {
	if err := s.check(ctx, "RotateKey"); err != nil {
		return auth.AccessKey{}, err
	}
	return s.Store.RotateKey(ctx, id, rotation)
}

func (s *faultyStore) TouchKey(ctx context.Context, id string, at time.Time) error {
	if err := s.check(ctx, "TouchKey"); err != nil {
		return err
	}
	return s.Store.TouchKey(ctx, id, at)
}

func (s *faultyStore) ListSessions(ctx context.Context, userID string, now time.Time) ([]auth.Session, error) {
	if err := s.check(ctx, "ListSessions"); err != nil {
		return nil, err
	}
	return s.Store.ListSessions(ctx, userID, now)
}

func (s *faultyStore) AddKey(ctx context.Context, key auth.AccessKey) error {
	if err := s.check(ctx, "AddKey"); err != nil {
		return err
	}
	return s.Store.AddKey(ctx, key)
}

func (s *faultyStore) FindKey(ctx context.Context, id string) (auth.Credential, error) {
	if err := s.check(ctx, "FindKey"); err != nil {
		return auth.Credential{}, err
	}
	return s.Store.FindKey(ctx, id)
}

func (s *faultyStore) SwapHash(ctx context.Context, id, old, new string) error {
	if err := s.check(ctx, "SwapHash"); err != nil {
		return err
	}
	return s.Store.SwapHash(ctx, id, old, new)
}

func (s *faultyStore) RevokeKey(ctx context.Context, id string) error {
	if err := s.check(ctx, "RevokeKey"); err != nil {
		return err
	}
	return s.Store.RevokeKey(ctx, id)
}

func (s *faultyStore) CreateSession(ctx context.Context, session auth.Session, limit int) (auth.Session, auth.User, error) {
	if err := s.check(ctx, "CreateSession"); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return s.Store.CreateSession(ctx, session, limit)
}

func (s *faultyStore) FindSession(ctx context.Context, id string) (auth.Session, error) {
	if err := s.check(ctx, "FindSession"); err != nil {
		return auth.Session{}, err
	}
	return s.Store.FindSession(ctx, id)
}

func (s *faultyStore) RevokeSession(ctx context.Context, id string) error {
	if err := s.check(ctx, "RevokeSession"); err != nil {
		return err
	}
	return s.Store.RevokeSession(ctx, id)
}

func (s *faultyStore) RevokeUserSessions(ctx context.Context, userID string, now time.Time) (int, error) {
	if err := s.check(ctx, "RevokeUserSessions"); err != nil {
		return 0, err
	}
	return s.Store.RevokeUserSessions(ctx, userID, now)
}

func (s *faultyStore) PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := s.check(ctx, "PruneSessions"); err != nil {
		return 0, err
	}
	return s.Store.PruneSessions(ctx, expired, limit)
}

func (s *faultyStore) PruneKeys(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := s.check(ctx, "PruneKeys"); err != nil {
		return 0, err
	}
	return s.Store.PruneKeys(ctx, expired, limit)
}

func (s *faultyStore) ListRevocations(ctx context.Context, from int64, limit int) ([]auth.Revocation, error) {
	if err := s.check(ctx, "ListRevocations"); err != nil {
		return nil, err
	}
	return s.Store.ListRevocations(ctx, from, limit)
}

func (s *faultyStore) PruneRevocations(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := s.check(ctx, "PruneRevocations"); err != nil {
		return 0, err
	}
	return s.Store.PruneRevocations(ctx, expired, limit)
}

func (s *faultyStore) Ping(ctx context.Context) error {
	if err := s.check(ctx, "Ping"); err != nil {
		return err
	}
	return s.Store.Ping(ctx)
}

func (s *faultyStore) PruneStates(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := s.check(ctx, "PruneStates"); err != nil {
		return 0, err
	}
	return s.Store.PruneStates(ctx, expired, limit)
}

func (s *faultyStore) ConsumeState(ctx context.Context, id string, expiresAt time.Time) error {
	if err := s.check(ctx, "ConsumeState"); err != nil {
		return err
	}
	return s.Store.ConsumeState(ctx, id, expiresAt)
}

func (s *faultyStore) FindGitHubLink(ctx context.Context, account auth.GitHubAccount) (auth.GitHubLink, error) {
	if err := s.check(ctx, "FindGitHubLink"); err != nil {
		return auth.GitHubLink{}, err
	}
	return s.Store.FindGitHubLink(ctx, account)
}

func (s *faultyStore) FindGitHubConnection(ctx context.Context, userID, host string) (auth.GitHubConnection, error) {
	if err := s.check(ctx, "FindGitHubConnection"); err != nil {
		return auth.GitHubConnection{}, err
	}
	return s.Store.FindGitHubConnection(ctx, userID, host)
}

func (s *faultyStore) SignInGitHub(ctx context.Context, signIn auth.GitHubSignInWrite) (auth.Session, auth.User, error) {
	if err := s.check(ctx, "SignInGitHub"); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return s.Store.SignInGitHub(ctx, signIn)
}

func (s *faultyStore) ConnectGitHub(ctx context.Context, connect auth.GitHubConnectWrite) error {
	if err := s.check(ctx, "ConnectGitHub"); err != nil {
		return err
	}
	return s.Store.ConnectGitHub(ctx, connect)
}

func (s *faultyStore) UpdateGitHubLink(ctx context.Context, link auth.GitHubLink) error {
	if err := s.check(ctx, "UpdateGitHubLink"); err != nil {
		return err
	}
	return s.Store.UpdateGitHubLink(ctx, link)
}

func (s *faultyStore) DeleteGitHubToken(ctx context.Context, userID, host string) (auth.GitHubToken, error) {
	if err := s.check(ctx, "DeleteGitHubToken"); err != nil {
		return auth.GitHubToken{}, err
	}
	return s.Store.DeleteGitHubToken(ctx, userID, host)
}

func (s *faultyStore) UnlinkGitHub(ctx context.Context, userID, host string, now time.Time) (auth.GitHubConnection, error) {
	if err := s.check(ctx, "UnlinkGitHub"); err != nil {
		return auth.GitHubConnection{}, err
	}
	return s.Store.UnlinkGitHub(ctx, userID, host, now)
}

func (s *faultyStore) LeaseGitHubToken(ctx context.Context, userID, host, version string, now, until time.Time) (bool, error) {
	if err := s.check(ctx, "LeaseGitHubToken"); err != nil {
		return false, err
	}
	return s.Store.LeaseGitHubToken(ctx, userID, host, version, now, until)
}

func (s *faultyStore) ReplaceGitHubToken(ctx context.Context, token auth.GitHubToken, oldVersion string) error {
	if err := s.check(ctx, "ReplaceGitHubToken"); err != nil {
		return err
	}
	return s.Store.ReplaceGitHubToken(ctx, token, oldVersion)
}

func (s *faultyStore) DropGitHubToken(ctx context.Context, userID, host, version string) error {
	if err := s.check(ctx, "DropGitHubToken"); err != nil {
		return err
	}
	return s.Store.DropGitHubToken(ctx, userID, host, version)
}

// watch puts a faultyStore before the fixture's store.
func watch(before func(method string) error) func(*fixture, *auth.Config) {
	return func(f *fixture, _ *auth.Config) {
		f.store = &faultyStore{Store: f.store, before: before}
	}
}
