package kvstore

import (
	"context"
	"encoding/binary"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// markForgotten records that the GitHub account is remembered for no user.
func (c *change) markForgotten(of auth.GitHubAccount) error {
	key := linkKey(of)
	if err := c.bucket(forgotten).Put([]byte(key), []byte(timeKey(c.now))); err != nil {
		return err
	}
	return c.bucket(forgottenTimes).Put([]byte(expiryKey(c.now, key)), nil)
}

// recall is the reverse of markForgotten, for an account that is remembered for a user again.
func (t tx) recall(of auth.GitHubAccount) error {
	key := linkKey(of)
	at := t.bucket(forgotten).Get([]byte(key))
	if at == nil {
		return nil
	}
	if err := t.bucket(forgottenTimes).Delete([]byte(string(at) + key)); err != nil {
		return err
	}
	return t.bucket(forgotten).Delete([]byte(key))
}

// accountOfKey returns the account for which linkKey has returned the key.
func accountOfKey(key string) auth.GitHubAccount {
	host, number, _ := strings.Cut(key, "\x00")
	return auth.GitHubAccount{Host: host, ID: int64(binary.BigEndian.Uint64([]byte(number)))}
}

// PruneGitHubAccounts implements [auth.GitHubStore].
func (s *Store) PruneGitHubAccounts(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = s.update(ctx, func(t tx) error {
		n = 0
		for _, key := range t.due(forgottenTimes, before, limit) {
			of, spent := accountOfKey(key), t.bucket(spentGrants)
			if spent.Get([]byte(key)) != nil {
				if err := t.bucket(prunedGrants).Put([]byte(storekit.GitHubDigest(of)), nil); err != nil {
					return err
				}
				if err := spent.Delete([]byte(key)); err != nil {
					return err
				}
			}
			if err := t.recall(of); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}
