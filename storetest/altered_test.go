package storetest_test

import (
	"context"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// altered is a store in memory that can modify each [auth.Write] before it makes the change, and
// can call a function after the change.
type altered struct {
	*memstore.Store

	// before returns the write to pass to the store. It can also return a function, which is called
	// after the store has returned. That function gets the context of the call and the error of
	// the store.
	before func(ctx context.Context, w auth.Write) (auth.Write,
		func(ctx context.Context, err error) error, error)
}

// write calls change with the write that the function before returns.
func (s *altered) write(ctx context.Context, w auth.Write, change func(w auth.Write) error) error {
	w, after, err := s.before(ctx, w)
	if err != nil {
		return err
	}
	err = change(w)
	if after != nil {
		return after(ctx, err)
	}
	return err
}

func (s *altered) Register(
	ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey,
) error {
	return s.write(ctx, w, func(w auth.Write) error { return s.Store.Register(ctx, w, user, key) })
}

func (s *altered) RegisterUsers(
	ctx context.Context, w auth.Write, users []auth.UserWithKeys,
) (refusals []error, err error) {
	err = s.write(ctx, w, func(w auth.Write) (err error) {
		refusals, err = s.Store.RegisterUsers(ctx, w, users)
		return err
	})
	return refusals, err
}

func (s *altered) UpdateUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange,
) (user auth.User, err error) {
	err = s.write(ctx, w, func(w auth.Write) (err error) {
		user, err = s.Store.UpdateUser(ctx, w, id, change)
		return err
	})
	return user, err
}

func (s *altered) ResetUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange, key auth.AccessKey,
) (user auth.User, tokens []auth.GitHubToken, err error) {
	err = s.write(ctx, w, func(w auth.Write) (err error) {
		user, tokens, err = s.Store.ResetUser(ctx, w, id, change, key)
		return err
	})
	return user, tokens, err
}

func (s *altered) DeleteUser(
	ctx context.Context, w auth.Write, id string,
) (tokens []auth.GitHubToken, err error) {
	err = s.write(ctx, w, func(w auth.Write) (err error) {
		tokens, err = s.Store.DeleteUser(ctx, w, id)
		return err
	})
	return tokens, err
}

func (s *altered) AddKey(ctx context.Context, w auth.Write, key auth.AccessKey) error {
	return s.write(ctx, w, func(w auth.Write) error { return s.Store.AddKey(ctx, w, key) })
}

func (s *altered) RotateKey(
	ctx context.Context, w auth.Write, id string, rotation auth.KeyRotation,
) (key auth.AccessKey, err error) {
	err = s.write(ctx, w, func(w auth.Write) (err error) {
		key, err = s.Store.RotateKey(ctx, w, id, rotation)
		return err
	})
	return key, err
}

func (s *altered) SetKeyScopes(
	ctx context.Context, w auth.Write, id string, scopes *auth.ScopeSet,
) (key auth.AccessKey, err error) {
	err = s.write(ctx, w, func(w auth.Write) (err error) {
		key, err = s.Store.SetKeyScopes(ctx, w, id, scopes)
		return err
	})
	return key, err
}

func (s *altered) RevokeKey(ctx context.Context, w auth.Write, id string) error {
	return s.write(ctx, w, func(w auth.Write) error { return s.Store.RevokeKey(ctx, w, id) })
}

func (s *altered) RevokeSession(ctx context.Context, w auth.Write, id string) error {
	return s.write(ctx, w, func(w auth.Write) error { return s.Store.RevokeSession(ctx, w, id) })
}

func (s *altered) RevokeUserSessions(
	ctx context.Context, w auth.Write, userID string,
) (n int, err error) {
	err = s.write(ctx, w, func(w auth.Write) (err error) {
		n, err = s.Store.RevokeUserSessions(ctx, w, userID)
		return err
	})
	return n, err
}

func (s *altered) RevokeEverybody(ctx context.Context, w auth.Write, above int64) error {
	return s.write(ctx, w, func(w auth.Write) error { return s.Store.RevokeEverybody(ctx, w, above) })
}

func (s *altered) ConnectGitHub(
	ctx context.Context, w auth.Write, connect auth.GitHubConnectWrite,
) error {
	return s.write(ctx, w, func(w auth.Write) error { return s.Store.ConnectGitHub(ctx, w, connect) })
}

func (s *altered) DeleteGitHubToken(
	ctx context.Context, w auth.Write, userID, host, version string,
) (token auth.GitHubToken, err error) {
	err = s.write(ctx, w, func(w auth.Write) (err error) {
		token, err = s.Store.DeleteGitHubToken(ctx, w, userID, host, version)
		return err
	})
	return token, err
}

func (s *altered) UnlinkGitHub(
	ctx context.Context, w auth.Write, userID, host string,
) (link auth.GitHubLink, token *auth.GitHubToken, err error) {
	err = s.write(ctx, w, func(w auth.Write) (err error) {
		link, token, err = s.Store.UnlinkGitHub(ctx, w, userID, host)
		return err
	})
	return link, token, err
}

func (s *altered) ForgetGitHubAccount(
	ctx context.Context, w auth.Write, account auth.GitHubAccount,
) error {
	return s.write(ctx, w, func(w auth.Write) error {
		return s.Store.ForgetGitHubAccount(ctx, w, account)
	})
}
