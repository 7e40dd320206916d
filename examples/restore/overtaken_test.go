package main

import (
	"bytes"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/stretchr/testify/require"
)

// Otherwise, a person would promote a demoted user again, or issue a key to a deleted user.
func TestChangesThatLaterEventsHaveTakenAwayAreNotForAPerson(t *testing.T) {
	event := func(kind eventkind.Kind, key, reason string) auth.Event {
		return auth.Event{Kind: kind, UserID: "ada", AccessKey: key, Reason: reason}
	}
	promoted := event(eventkind.UserChanged, "", "is_super_user=true is_active=true")
	demoted := event(eventkind.UserChanged, "", "is_super_user=false")
	issued := event(eventkind.KeyIssued, "k", "")
	rotated := event(eventkind.KeyRotated, "k", "")
	revoked := event(eventkind.KeyRevoked, "k", "")
	reset := event(eventkind.UserReset, "n", "regenerated")
	reinstated := event(eventkind.UserReset, "n", "reinstated")
	disabled := event(eventkind.UserChanged, "", "is_active=false")
	created := event(eventkind.UserCreated, "k", "")
	deleted := event(eventkind.UserDeleted, "", "")
	connected := event(eventkind.GitHubConnected, "", "")
	unlinked := event(eventkind.GitHubUnlinked, "", "")
	byRestore := func(e auth.Event) auth.Event {
		e.Host = "restore"
		return e
	}
	other := deleted
	other.UserID = "eve"
	for name, c := range map[string]struct {
		events    []auth.Event
		overtaken bool // of the first event
		undone    []string
	}{
		"promoted, demoted":            {[]auth.Event{promoted, demoted}, false, []string{"is_super_user=true"}},
		"demoted, promoted":            {[]auth.Event{demoted, promoted}, false, nil},
		"promoted, deleted":            {[]auth.Event{promoted, deleted}, true, nil},
		"promoted, another deleted":    {[]auth.Event{promoted, other}, false, nil},
		"key issued, revoked":          {[]auth.Event{issued, revoked}, true, nil},
		"key issued, another revoked":  {[]auth.Event{issued, event(eventkind.KeyRevoked, "o", "")}, false, nil},
		"key issued, reset":            {[]auth.Event{issued, reset}, true, nil},
		"key issued, rotated":          {[]auth.Event{issued, rotated}, false, nil},
		"key rotated twice":            {[]auth.Event{rotated, rotated}, false, nil},
		"key rotated, revoked":         {[]auth.Event{rotated, revoked}, true, nil},
		"key revoked, deleted":         {[]auth.Event{revoked, deleted}, false, nil},
		"reset, disabled":              {[]auth.Event{reset, disabled}, true, nil},
		"reset, disabled, enabled":     {[]auth.Event{reset, disabled, promoted}, false, nil},
		"reinstated, disabled":         {[]auth.Event{reinstated, disabled}, true, nil},
		"disabled, reinstated":         {[]auth.Event{disabled, reinstated}, false, nil},
		"reset, disabled, reinstated":  {[]auth.Event{reset, disabled, reinstated}, true, nil},
		"created, disabled":            {[]auth.Event{created, disabled}, true, nil},
		"reset twice":                  {[]auth.Event{reset, reset}, true, nil},
		"reset, deleted":               {[]auth.Event{reset, deleted}, true, nil},
		"connected, unlinked":          {[]auth.Event{connected, unlinked}, true, nil},
		"unlinked, connected":          {[]auth.Event{unlinked, connected}, false, nil},
		"rotated, revoked by restore":  {[]auth.Event{rotated, byRestore(revoked)}, false, nil},
		"reset, disabled by restore":   {[]auth.Event{reset, byRestore(disabled)}, false, nil},
		"promoted, demoted by restore": {[]auth.Event{promoted, byRestore(demoted)}, false, nil},
	} {
		first := changesOf(c.events)[0]
		require.Equal(t, c.overtaken, first.overtaken, name)
		require.Equal(t, c.undone, first.undone, name)
	}
}

// With access to the database, an attacker can write such an event. The old database still has the user.
func TestAForgedDeletionIsNotRepeated(t *testing.T) {
	ctx, host := t.Context(), auth.ByHost("test")
	old, file := newDatabase(t)
	alice, err := old.svc.Register(ctx, host, auth.UserParams{Username: "alice"})
	require.NoError(t, err)
	backup, at := backUp(t, old)
	bob, err := old.svc.Register(ctx, host, auth.UserParams{Username: "bob"})
	require.NoError(t, err)
	require.NoError(t, old.svc.DeleteUser(ctx, host, bob.User.ID))
	_, err = old.db.Exec(`UPDATE auth_events SET user_id = ? WHERE kind = 'user.deleted'`, alice.User.ID)
	require.NoError(t, err)

	var out bytes.Buffer
	require.Error(t, run(ctx, source{old: file, since: at}, backup, &out))
	require.Contains(t, out.String(), "NOT repeated: user.deleted of the user "+alice.User.ID+
		" (alice), by test: -old still has the user")
	restored, err := open(ctx, backup)
	require.NoError(t, err)
	defer restored.db.Close()
	_, err = restored.svc.Login(ctx, alice.Pair, auth.LoginOptions{})
	require.NoError(t, err)
}

// An attacker who can write to the database can add such events. A person must see what they did.
func TestRestorePrintsWhoTookPowerAway(t *testing.T) {
	ctx, host := t.Context(), auth.ByHost("test")
	old, file := newDatabase(t)
	made := map[string]auth.Registration{}
	for _, name := range []string{"deleted", "revoked", "unlinked"} {
		user, err := old.svc.Register(ctx, host, auth.UserParams{Username: name})
		require.NoError(t, err)
		made[name] = user
	}
	account := auth.GitHubAccount{Host: "github.com", ID: 583231}
	connectGitHub(t, old, account, made["unlinked"].User.ID)
	backup, at := backUp(t, old)
	require.NoError(t, old.svc.DeleteUser(ctx, host, made["deleted"].User.ID))
	require.NoError(t, old.svc.Credentials().Revoke(ctx, host, made["revoked"].Pair.AccessKey))
	svc, err := withGitHub(old.store, account.Host)
	require.NoError(t, err)
	require.NoError(t, svc.GitHub().Unlink(ctx, host, made["unlinked"].User.ID))
	require.NoError(t, svc.GitHub().Forget(ctx, host, account))

	var out bytes.Buffer
	require.NoError(t, run(ctx, source{old: file, since: at, github: account.Host}, backup, &out))
	of := func(name string) string {
		return " of the user " + made[name].User.ID + " (" + name + "), by test\n"
	}
	require.Contains(t, out.String(), "repeated: user.deleted"+of("deleted"))
	require.Contains(t, out.String(), "repeated: key.revoked "+made["revoked"].Pair.AccessKey+of("revoked"))
	require.Contains(t, out.String(), "repeated: github.unlinked github.com account 583231"+of("unlinked"))
	require.Contains(t, out.String(), "to decide: github.forgotten github.com account 583231"+of("unlinked"))
}
