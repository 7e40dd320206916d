package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"database/sql"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

func TestChangesAfterABackupAreMadeAgainBeforeTheDoorsOpen(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	file, backup := filepath.Join(dir, "app.db"), filepath.Join(dir, "backup.db")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	svc, err := open(ctx, file)
	require.NoError(t, err)
	host := auth.ByHost("test")
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
	db, err := sql.Open("sqlite", "file:"+file)
	require.NoError(t, err)
	_, err = db.Exec("VACUUM INTO ?", backup)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	at := time.Now()

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

	restored, err := open(ctx, backup)
	require.NoError(t, err)
	for name, r := range made { // what a restore alone brings back
		_, err := restored.Login(ctx, r.Pair)
		require.NoError(t, err, name)
	}
	for range 2 { // the program can run again
		var out bytes.Buffer
		require.NoError(t, run(ctx, file, backup, at, &out))
		require.Contains(t, out.String(), "lost: user.created of user "+late.User.ID)
		require.Contains(t, out.String(), "reset user "+made["reset"].User.ID)
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
	require.Error(t, run(context.Background(), missing, missing, time.Now(), &bytes.Buffer{}))
	require.NoFileExists(t, missing)
}
