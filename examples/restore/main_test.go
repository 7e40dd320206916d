package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// newDatabase returns a new SQLite database and its file.
func newDatabase(t *testing.T) (database, string) {
	file := filepath.Join(t.TempDir(), "app.db")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	opened, err := open(t.Context(), file)
	require.NoError(t, err)
	t.Cleanup(func() { opened.db.Close() })
	return opened, file
}

// backUp returns the file of a backup, and the time at which the backup began.
func backUp(t *testing.T, source database) (file string, at time.Time) {
	file, at = filepath.Join(t.TempDir(), "backup.db"), time.Now()
	_, err := source.db.Exec("VACUUM INTO ?", file)
	require.NoError(t, err)
	return file, at
}

func TestChangesAfterABackupAreRepeatedInTheRestoredDatabase(t *testing.T) {
	ctx, host := t.Context(), auth.ByHost("test")
	old, file := newDatabase(t)
	svc := old.svc
	register := func(name string) auth.Registration {
		made, err := svc.Register(ctx, host, auth.UserParams{Username: name, IsSuperUser: name == "demoted"})
		require.NoError(t, err)
		return made
	}
	root, err := svc.Bootstrap(ctx, auth.UserParams{Username: "root"}, svc.Credentials().GeneratePair())
	require.NoError(t, err)
	made := map[string]auth.Registration{}
	for _, name := range []string{"unchanged", "revoked", "leaked", "rotated", "reset", "disabled", "demoted",
		"deleted", "back"} {
		made[name] = register(name)
	}
	backup, at := backUp(t, old)

	require.NoError(t, svc.Credentials().Revoke(ctx, host, made["revoked"].Pair.AccessKey))
	_, err = svc.Credentials().RevokeLeaked(ctx, made["leaked"].Pair.AccessSecret)
	require.NoError(t, err)
	_, err = svc.Credentials().Rotate(ctx, host, made["rotated"].Pair.AccessKey, 0)
	require.NoError(t, err)
	_, err = svc.RegenerateCredentials(ctx, host, made["reset"].User.ID)
	require.NoError(t, err)
	change := func(name string, change auth.UserChange) {
		_, err := svc.UpdateUser(ctx, host, made[name].User.ID, change)
		require.NoError(t, err)
	}
	change("disabled", auth.UserChange{IsActive: new(false)})
	change("demoted", auth.UserChange{IsSuperUser: new(false)})
	change("back", auth.UserChange{IsActive: new(false)})
	change("back", auth.UserChange{IsActive: new(true)})
	require.NoError(t, svc.DeleteUser(ctx, host, made["deleted"].User.ID))
	late := register("late")

	opened, err := open(ctx, backup)
	require.NoError(t, err)
	restored := opened.svc
	for name, r := range made { // what a restore alone brings back
		_, err := restored.Login(ctx, r.Pair)
		require.NoError(t, err, name)
	}
	for range 2 { // the program can run again
		var out bytes.Buffer
		require.NoError(t, run(ctx, file, backup, at, &out))
		require.Contains(t, out.String(), "lost: user.created of the user "+late.User.ID+" (late)")
		require.Equal(t, 1, strings.Count(out.String(), "lost:"), "the backup has the others: %s", &out)
		require.Contains(t, out.String(), "reset the user "+made["reset"].User.ID+" (reset)")
		require.NotContains(t, out.String(), "NOT")
		require.False(t, strings.Contains(out.String(), "as_live_"))
	}
	for name, r := range made {
		_, err := restored.Login(ctx, r.Pair)
		switch name {
		case "unchanged", "demoted", "back":
			require.NoError(t, err, name)
		default:
			require.ErrorIs(t, err, auth.ErrInvalidCredentials, name)
		}
	}
	session, err := restored.Login(ctx, made["demoted"].Pair)
	require.NoError(t, err)
	require.False(t, session.User.IsSuperUser)
	require.NotEmpty(t, root.ID)
	_, err = restored.Register(ctx, host, auth.UserParams{Username: "deleted"})
	require.ErrorIs(t, err, auth.ErrExists, "the name of a deleted user stays taken")
}

func TestAMissingFileIsNotCreated(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "app.db")
	_, other := newDatabase(t)
	for _, files := range [][2]string{{missing, other}, {other, missing}, {missing, missing}} {
		require.Error(t, run(t.Context(), files[0], files[1], time.Now(), &bytes.Buffer{}))
		require.NoFileExists(t, missing)
	}
}

func TestGitHubAccountsAreUnlinkedAgainWithoutTheKeysOfTheHost(t *testing.T) {
	ctx, by := t.Context(), auth.ByHost("test")
	old, file := newDatabase(t)
	alice, err := old.svc.Register(ctx, by, auth.UserParams{Username: "alice"})
	require.NoError(t, err)
	account, now := auth.GitHubAccount{Host: "github.example.com", ID: 583231}, time.Now()
	write := auth.Write{By: by, Now: time.Now, MaxTokenLifetime: time.Hour}
	require.NoError(t, old.store.ConnectGitHub(ctx, write, auth.GitHubConnectWrite{
		Link: auth.GitHubLink{Account: account, UserID: alice.User.ID, Login: "o", CreatedAt: now, SeenAt: now},
		Token: auth.GitHubToken{Account: account, UserID: alice.User.ID, Version: "1", Sealed: []byte("s"),
			UpdatedAt: now},
	}))
	backup, at := backUp(t, old)
	unlinked := auth.Event{UserID: alice.User.ID, GitHub: account}
	require.NoError(t, (&restoration{restored: old}).unlink(ctx, unlinked))

	var out bytes.Buffer
	require.NoError(t, run(ctx, file, backup, at, &out))
	restored, err := open(ctx, backup)
	require.NoError(t, err)
	defer restored.db.Close()
	_, _, err = restored.store.FindGitHubConnection(ctx, alice.User.ID, account.Host)
	require.ErrorIs(t, err, auth.ErrNotFound, &out)
}

// The only other super user was added after the backup, so the restored database does not have that
// user.
func TestRestoreFailsIfAChangeCannotBeRepeated(t *testing.T) {
	ctx, by := t.Context(), auth.ByHost("test")
	old, file := newDatabase(t)
	pair := old.svc.Credentials().GeneratePair()
	root, err := old.svc.Bootstrap(ctx, auth.UserParams{Username: "root"}, pair)
	require.NoError(t, err)
	backup, at := backUp(t, old)
	_, err = old.svc.Register(ctx, by, auth.UserParams{Username: "second", IsSuperUser: true})
	require.NoError(t, err)
	_, err = old.svc.UpdateUser(ctx, by, root.ID, auth.UserChange{IsSuperUser: new(false)})
	require.NoError(t, err)

	var out bytes.Buffer
	require.ErrorContains(t, run(ctx, file, backup, at, &out), "1 changes were not repeated")
	require.Contains(t, out.String(), "NOT repeated: user.changed of the user "+root.ID+" (root)")
}

func TestRestoreFailsIfTheTrailHasNoChangeSinceTheBackup(t *testing.T) {
	_, file := newDatabase(t)
	_, backup := newDatabase(t)
	require.ErrorContains(t, run(t.Context(), file, backup, time.Now(), &bytes.Buffer{}), "no event since")
}
