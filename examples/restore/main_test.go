package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
func backUp(t *testing.T, db database) (file string, at time.Time) {
	file, at = filepath.Join(t.TempDir(), "backup.db"), time.Now()
	_, err := db.db.Exec("VACUUM INTO ?", file)
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
	for _, name := range []string{"unchanged", "revoked", "leaked", "rotated", "rescoped", "reset",
		"disabled", "demoted", "deleted", "back"} {
		made[name] = register(name)
	}
	backup, at := backUp(t, old)

	require.NoError(t, svc.Credentials().Revoke(ctx, host, made["revoked"].Pair.AccessKey))
	_, err = svc.Credentials().RevokeLeaked(ctx, made["leaked"].Pair.AccessSecret)
	require.NoError(t, err)
	_, err = svc.Credentials().Rotate(ctx, host, made["rotated"].Pair.AccessKey, 0)
	require.NoError(t, err)
	require.NoError(t, svc.Credentials().SetScopes(ctx, host, made["rescoped"].Pair.AccessKey, nil))
	_, err = svc.RegenerateCredentials(ctx, host, made["reset"].User.ID, auth.KeyOptions{})
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
		_, err := restored.Login(ctx, r.Pair, auth.LoginOptions{})
		require.NoError(t, err, name)
	}
	for range 2 { // the program can run again
		var out bytes.Buffer
		require.NoError(t, run(ctx, source{old: file, since: at}, backup, &out))
		printed := out.String()
		require.Contains(t, printed, "lost: user.created "+late.Pair.AccessKey+" of the user "+late.User.ID+
			" (late), by test\n")
		require.Equal(t, 1, strings.Count(printed, "lost:"), "the backup has the others: %s", printed)
		require.Contains(t, printed, "repeated: user.reset ")
		require.Contains(t, printed, "regenerated of the user "+made["reset"].User.ID+" (reset), by test: "+
			"regenerate the credentials for the user\n")
		back := "the user " + made["back"].User.ID
		require.Contains(t, printed, "to decide: user.changed is_active=true of "+back)
		for _, name := range []string{"revoked", "leaked", "rotated", "rescoped", "reset"} {
			require.Contains(t, out.String(), "no way in: the user "+made[name].User.ID+" ("+name+")\n")
		}
		require.Equal(t, 5, strings.Count(out.String(), "no way in"), "%s", &out)
		require.NotContains(t, out.String(), "NOT")
		require.NotContains(t, out.String(), "as_live_")
	}
	for name, r := range made {
		_, err := restored.Login(ctx, r.Pair, auth.LoginOptions{})
		switch name {
		case "unchanged", "demoted":
			require.NoError(t, err, name)
		default:
			require.ErrorIs(t, err, auth.ErrInvalidCredentials, name)
		}
	}
	keys, err := restored.Credentials().List(ctx, made["reset"].User.ID)
	require.NoError(t, err)
	require.Empty(t, keys, "the program leaves no key of its own, which would need NoPepper")
	session, err := restored.Login(ctx, made["demoted"].Pair, auth.LoginOptions{})
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
		from := source{old: files[0], since: time.Now()}
		require.Error(t, run(t.Context(), from, files[1], &bytes.Buffer{}))
		require.NoFileExists(t, missing)
	}
}

func connectGitHub(t *testing.T, to database, account auth.GitHubAccount, userID string) {
	write := auth.Write{By: auth.ByHost("test"), Now: time.Now, MaxTokenLifetime: time.Hour}
	now := time.Now()
	require.NoError(t, to.store.ConnectGitHub(t.Context(), write, auth.GitHubConnectWrite{
		Link: auth.GitHubLink{Account: account, UserID: userID, Login: "o", CreatedAt: now, SeenAt: now},
		Token: auth.GitHubToken{Account: account, UserID: userID, Version: "1", Sealed: []byte("s"),
			UpdatedAt: now},
	}))
}

func TestGitHubAccountsAreUnlinkedAgainWithoutTheKeysOfTheHost(t *testing.T) {
	ctx, by := t.Context(), auth.ByHost("test")
	old, file := newDatabase(t)
	alice, err := old.svc.Register(ctx, by, auth.UserParams{Username: "alice"})
	require.NoError(t, err)
	account := auth.GitHubAccount{Host: "github.example.com", ID: 583231}
	connectGitHub(t, old, account, alice.User.ID)
	backup, at := backUp(t, old)
	unlinked := auth.Event{UserID: alice.User.ID, GitHub: account}
	require.NoError(t, (&restoration{restored: old}).unlink(ctx, unlinked))

	var out bytes.Buffer
	require.NoError(t, run(ctx, source{old: file, since: at}, backup, &out))
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
	from := source{old: file, since: at}
	require.ErrorContains(t, run(ctx, from, backup, &out), "1 changes were not repeated")
	require.Contains(t, out.String(), "NOT repeated: user.changed is_super_user=false of the user "+root.ID+
		" (root), by test: ")
}

func TestRestoreFailsIfTheTrailHasNoChangeSinceTheBackup(t *testing.T) {
	_, file := newDatabase(t)
	_, backup := newDatabase(t)
	from := source{old: file, since: time.Now()}
	require.ErrorContains(t, run(t.Context(), from, backup, &bytes.Buffer{}), "no event since")
}

// With a stolen token of a super user, or with write access to the old database, an attacker can add
// such an event.
func TestAPromotionAfterTheBackupIsNotRepeated(t *testing.T) {
	ctx, host := t.Context(), auth.ByHost("test")
	old, file := newDatabase(t)
	mallory, err := old.svc.Register(ctx, host, auth.UserParams{Username: "mallory"})
	require.NoError(t, err)
	_, err = old.svc.UpdateUser(ctx, host, mallory.User.ID, auth.UserChange{IsActive: new(false)})
	require.NoError(t, err)
	backup, at := backUp(t, old)
	promote := auth.UserChange{IsSuperUser: new(true), IsActive: new(true)}
	_, err = old.svc.UpdateUser(ctx, host, mallory.User.ID, promote)
	require.NoError(t, err)
	_, err = old.svc.ReinstateUser(ctx, host, mallory.User.ID, auth.KeyOptions{})
	require.NoError(t, err)
	_, err = old.svc.RecoverSuperUser(ctx, mallory.User.ID)
	require.NoError(t, err)

	var out bytes.Buffer
	require.NoError(t, run(ctx, source{old: file, since: at}, backup, &out))
	user := " of the user " + mallory.User.ID + " (mallory), by "
	printed := out.String()
	require.Contains(t, printed, "to decide: user.changed is_super_user=true is_active=true"+user+"test\n")
	require.Contains(t, printed, "to decide: super_user.recovered ")
	require.Equal(t, 2, strings.Count(printed, "to decide: "), "the recovery overtakes the reinstatement")
	restored, err := open(ctx, backup)
	require.NoError(t, err)
	defer restored.db.Close()
	found, err := restored.store.FindUser(ctx, mallory.User.ID)
	require.NoError(t, err)
	require.False(t, found.IsSuperUser, &out)
	require.False(t, found.IsActive, &out)
}

// importing returns a service on the database that accepts keys of another system.
func importing(t *testing.T, to database) *auth.Service {
	signing, err := auth.NewHS256Key("", newSecret())
	require.NoError(t, err)
	svc, err := auth.New(to.store, auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{signing}, Proxies: auth.NoProxies(),
		Credentials: auth.CredentialConfig{AllowImported: true},
	})
	require.NoError(t, err)
	return svc
}

// importKey adds a key that another system made.
func importKey(t *testing.T, to database, userID, id, secret string) {
	sum := sha256.Sum256([]byte(secret))
	key := auth.ImportedKey{UserID: userID, AccessKey: id, GeneratedSHA256: hex.EncodeToString(sum[:])}
	require.NoError(t, importing(t, to).Credentials().Import(t.Context(), auth.ByHost("test"), key))
}

// writeEvents writes the events of the audit trail to a file, as an OnEvent does that appends lines of
// JSON. It writes each event twice, because an event can be delivered more than once.
func writeEvents(t *testing.T, from database) string {
	events, err := from.svc.Events(t.Context(), auth.EventFilter{}, 200)
	require.NoError(t, err)
	var lines bytes.Buffer
	for _, event := range slices.Concat(events, events) {
		require.NoError(t, json.NewEncoder(&lines).Encode(event))
	}
	file := filepath.Join(t.TempDir(), "events.jsonl")
	require.NoError(t, os.WriteFile(file, lines.Bytes(), 0o600))
	return file
}

// The event of a revocation does not name an imported key.
func TestARevokedImportedKeyDoesNotComeBackWithARestore(t *testing.T) {
	ctx, host := t.Context(), auth.ByHost("test")
	old, file := newDatabase(t)
	alice, err := old.svc.Register(ctx, host, auth.UserParams{Username: "alice"})
	require.NoError(t, err)
	bob, err := old.svc.Register(ctx, host, auth.UserParams{Username: "bob"})
	require.NoError(t, err)
	importKey(t, old, alice.User.ID, "alice-stays", "secret 1")
	importKey(t, old, alice.User.ID, "alice-revoked", "secret 2")
	importKey(t, old, bob.User.ID, "bob-imported-again", "secret 3")
	backup, at := backUp(t, old)
	require.NoError(t, old.svc.Credentials().Revoke(ctx, host, "alice-revoked"))
	require.NoError(t, old.svc.Credentials().Revoke(ctx, host, "bob-imported-again"))
	importKey(t, old, bob.User.ID, "bob-imported-again", "secret 4")

	var out bytes.Buffer
	from := source{events: writeEvents(t, old), since: at}
	require.ErrorContains(t, run(ctx, from, backup, &out), "2 changes were not repeated")
	bobs := "the user " + bob.User.ID + " (bob)"
	require.Contains(t, out.String(), "perhaps lost: the key of "+bobs+" that was imported")
	require.Contains(t, out.String(), "NOT repeated: key.revoked imported of the user "+alice.User.ID+
		" (alice), by test: an imported key, which the event does not name: revoke all imported keys of the "+
		"user\n")

	out.Reset()
	require.NoError(t, run(ctx, source{old: file, since: at}, backup, &out))
	require.Equal(t, 1, strings.Count(out.String(), "lost: "), "%s", &out)
	require.Contains(t, out.String(), "lost: the imported key labeled \"\" of "+bobs+"\n")
	restored, err := open(ctx, backup)
	require.NoError(t, err)
	defer restored.db.Close()
	var left []string
	for _, user := range []string{alice.User.ID, bob.User.ID} {
		keys, err := restored.store.ListKeys(ctx, user)
		require.NoError(t, err)
		for _, key := range keys {
			left = append(left, key.ID)
		}
	}
	require.ElementsMatch(t, []string{alice.Pair.AccessKey, "alice-stays", bob.Pair.AccessKey}, left, &out)
}

// Such a file is the only source if the old database is lost, or if an attacker could write to it.
func TestTheEventsThatOnEventHasSentAreRepeated(t *testing.T) {
	ctx, host := t.Context(), auth.ByHost("test")
	old, _ := newDatabase(t)
	made := map[string]auth.Registration{}
	for _, name := range []string{"unchanged", "revoked", "disabled", "reset"} {
		user, err := old.svc.Register(ctx, host, auth.UserParams{Username: name})
		require.NoError(t, err)
		made[name] = user
	}
	backup, at := backUp(t, old)
	require.NoError(t, old.svc.Credentials().Revoke(ctx, host, made["revoked"].Pair.AccessKey))
	_, err := old.svc.UpdateUser(ctx, host, made["disabled"].User.ID, auth.UserChange{IsActive: new(false)})
	require.NoError(t, err)
	_, err = old.svc.RegenerateCredentials(ctx, host, made["reset"].User.ID, auth.KeyOptions{})
	require.NoError(t, err)

	var out bytes.Buffer
	require.NoError(t, run(ctx, source{events: writeEvents(t, old), since: at}, backup, &out))
	require.Equal(t, 1, strings.Count(out.String(), "repeated: user.reset "), &out)
	restored, err := open(ctx, backup)
	require.NoError(t, err)
	defer restored.db.Close()
	for name, r := range made {
		_, err := restored.svc.Login(ctx, r.Pair, auth.LoginOptions{})
		require.Equal(t, name == "unchanged", err == nil, name)
	}

	noTrail := filepath.Join(t.TempDir(), "events.jsonl") // of a service with DisableAuditTrail
	line := fmt.Sprintf(`{"kind":"user.changed","user_id":%q,"reason":"is_active=false","at":%q}`+"\n",
		made["unchanged"].User.ID, time.Now().UTC().Format(time.RFC3339))
	first := strings.Replace(line, "user.changed", "sign_in.accepted", 1)
	require.NoError(t, os.WriteFile(noTrail, []byte(first+line), 0o600))
	require.NoError(t, run(ctx, source{events: noTrail, since: at}, backup, &out))
	_, err = restored.svc.Login(ctx, made["unchanged"].Pair, auth.LoginOptions{})
	require.ErrorIs(t, err, auth.ErrInvalidCredentials, "an event without an ID is repeated, too")

	require.Error(t, run(ctx, source{since: at}, backup, &out), "neither -old nor -events")
	require.Error(t, run(ctx, source{old: "a", events: "b", since: at}, backup, &out), "both")
}

// Otherwise, the key would silently have the earlier scopes again.
func TestRestoreFailsIfTheScopesOfAnImportedKeyWereChanged(t *testing.T) {
	ctx, host := t.Context(), auth.ByHost("test")
	old, file := newDatabase(t)
	alice, err := old.svc.Register(ctx, host, auth.UserParams{Username: "alice"})
	require.NoError(t, err)
	importKey(t, old, alice.User.ID, "alice-laptop", "secret 1")
	backup, at := backUp(t, old)
	require.NoError(t, old.svc.Credentials().SetScopes(ctx, host, "alice-laptop", nil))

	var out bytes.Buffer
	require.ErrorContains(t, run(ctx, source{old: file, since: at}, backup, &out),
		"1 changes were not repeated")
	require.Contains(t, out.String(), "NOT repeated: key.changed imported scopes: no limit of the user "+
		alice.User.ID+" (alice), by test: ")
}
