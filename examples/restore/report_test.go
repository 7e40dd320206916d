package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// A person at three in the morning learns from the last lines who must be given a new way in.
func TestRestorePrintsUsersWhoCanNoLongerSignIn(t *testing.T) {
	ctx, host := t.Context(), auth.ByHost("test")
	account := auth.GitHubAccount{Host: "github.com", ID: 583231}
	for name, change := range map[string]struct {
		make func(t *testing.T, svc *auth.Service, root auth.User, pair auth.KeyPair)
		in   bool
	}{
		"the key of the only super user was rotated": {
			make: func(t *testing.T, svc *auth.Service, _ auth.User, pair auth.KeyPair) {
				_, err := svc.Credentials().Rotate(ctx, host, pair.AccessKey, 0)
				require.NoError(t, err)
			},
		},
		"the only super user was recovered": {
			make: func(t *testing.T, svc *auth.Service, root auth.User, _ auth.KeyPair) {
				_, err := svc.RecoverSuperUser(ctx, root.ID)
				require.NoError(t, err)
			},
		},
		"the only super user got a second key": {
			make: func(t *testing.T, svc *auth.Service, root auth.User, _ auth.KeyPair) {
				_, err := svc.Credentials().Issue(ctx, host, root.ID, auth.KeyOptions{})
				require.NoError(t, err)
			},
			in: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			old, file := newDatabase(t)
			pair := old.svc.Credentials().GeneratePair()
			root, err := old.svc.Bootstrap(ctx, auth.UserParams{Username: "root"}, pair)
			require.NoError(t, err)
			backup, at := backUp(t, old)
			change.make(t, old.svc, root, pair)

			var out bytes.Buffer
			require.NoError(t, run(ctx, source{old: file, since: at, github: account.Host}, backup, &out))
			for _, line := range []string{"the user " + root.ID + " (root)\n", "all super users"} {
				printed := strings.Contains(out.String(), "no way in: "+line)
				require.Equal(t, !change.in, printed, "%s", &out)
			}

			opened, err := open(ctx, backup)
			require.NoError(t, err)
			defer opened.db.Close()
			connectGitHub(t, opened, account, root.ID)
			out.Reset()
			r := restoration{restored: opened, out: &out, github: account.Host}
			require.NoError(t, r.printNoSuperUser(ctx))
			require.Empty(t, out.String(), "the GitHub account is a way in")
		})
	}
}

// The event of an import does not name the users.
func TestRestorePrintsUsersWhoWereImportedAfterTheBackup(t *testing.T) {
	ctx, host := t.Context(), auth.ByHost("test")
	old, file := newDatabase(t)
	importUsers := func(names ...string) {
		var lines strings.Builder
		for _, name := range names {
			fmt.Fprintf(&lines, `{"username":%q,"keys":[{"access_key":"legacy-%s","sha256":"%x"}]}`+"\n",
				name, name, sha256.Sum256([]byte(name)))
		}
		progress, err := importing(t, old).ImportUsers(ctx, host, strings.NewReader(lines.String()),
			auth.ImportOptions{VouchForSHA256: true})
		require.NoError(t, err)
		require.Equal(t, len(names), progress.Added)
	}
	importUsers("before")
	backup, at := backUp(t, old)
	importUsers("alice", "deleted")
	for user, err := range users(ctx, old.store) {
		require.NoError(t, err)
		if user.Username == "deleted" {
			require.NoError(t, old.svc.DeleteUser(ctx, host, user.ID))
		}
	}

	var out bytes.Buffer
	require.NoError(t, run(ctx, source{old: file, since: at}, backup, &out))
	require.Equal(t, 1, strings.Count(out.String(), "lost: "), "%s", &out)
	require.Regexp(t, `lost: the imported user \S+ \(alice\)\n`, out.String())

	out.Reset()
	require.NoError(t, run(ctx, source{events: writeEvents(t, old), since: at}, backup, &out))
	require.Contains(t, out.String(), "perhaps lost: the users in lines 1 to 2 of the import at ")
}
