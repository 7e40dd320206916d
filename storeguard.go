package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/outage"
)

// Every component calls its store through one of the types below. These types convert a panic in
// the store into an error, so that the call fails as if the store could not answer. Under net/http,
// a panic would end only one request. In a gRPC method, in [Service.Run] or in a host's own
// goroutine, a panic would end the process. The types also check that pages go on.

// recoverStore converts a panic in a method of the store into an error that says where the panic
// was. It must be deferred directly, because recover has no effect in a function that a deferred
// function calls.
func recoverStore(method string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("auth: the store's %s panicked: %v (at %s)", method, p, panicOrigin())
	}
}

// panicOrigin returns the file and line of a panic. The caller must be the deferred function that
// has just recovered the panic, because the frames of the panic leave the stack when that function
// returns. The origin is the first frame after runtime.gopanic that is outside the runtime.
func panicOrigin() string {
	var callers [32]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers[:])])
	panicking := false
	for {
		frame, more := frames.Next()
		ofRuntime := strings.HasPrefix(frame.Function, "runtime.")
		if panicking && !ofRuntime {
			return fmt.Sprintf("%s:%d", frame.File, frame.Line)
		}
		panicking = panicking || frame.Function == "runtime.gopanic"
		if !more {
			return "an unknown place"
		}
	}
}

// logPanic counts a panic in a callback of the host. If a log line is due, logPanic writes it, with
// the stack of this panic. The first panic has a line at once. Further lines follow at most every 30
// seconds, because a callback that panics in one request probably panics in each. The caller must be
// the deferred function that has recovered the panic, because the stack ends with that function.
func logPanic(log *slog.Logger, panics *outage.Tracker, callback string, recovered any) {
	if r, due := panics.Fail(callback, 1); due {
		log.Error("auth: "+callback+" panicked", "panics", r.Failures, "panic", recovered,
			"stack", string(debug.Stack()))
	}
}

// checkPage returns the page and the error that a method of the store has returned. If the IDs of the
// page do not increase from the ID after, checkPage returns an error that names the method. A loop
// that reads all pages of such a store would never end, or would pass over records.
func checkPage[R any](method, after string, page []R, err error, id func(R) string) ([]R, error) {
	if err != nil {
		return nil, err
	}
	for _, record := range page {
		next := id(record)
		if next <= after {
			return nil, fmt.Errorf("auth: the store's %s returned a page whose IDs do not increase from "+
				"its parameter after: it must return the records with greater IDs, sorted by the bytes of "+
				"the IDs", method)
		}
		after = next
	}
	return page, nil
}

type (
	guardedUsers       struct{ UserStore }
	guardedCredentials struct{ CredentialStore }
	guardedSessions    struct{ SessionStore }
	guardedGitHub      struct{ GitHubStore }
	guardedEvents      struct{ EventStore }

	guardedAccounts struct {
		guardedCredentials
		guardedSessions
		guardedGitHub
		accounts AccountStore
	}
)

func guardAccounts(store AccountStore) guardedAccounts {
	return guardedAccounts{guardedCredentials{store}, guardedSessions{store}, guardedGitHub{store}, store}
}

// guardUsers returns a store that converts panics in the given store into errors. If the host keeps
// the users, the given store is nil, and guardUsers returns nil.
func guardUsers(store UserStore) UserStore {
	if store == nil {
		return nil
	}
	return guardedUsers{store}
}

// guardEvents returns a store that converts panics in the given store into errors. If there is no
// audit trail, the given store is nil, and guardEvents returns nil.
func guardEvents(store EventStore) EventStore {
	if store == nil {
		return nil
	}
	return guardedEvents{store}
}

func (g guardedAccounts) Ping(ctx context.Context) (err error) {
	defer recoverStore("Ping", &err)
	return g.accounts.Ping(ctx)
}

// guardCheckWritable returns the store's method CheckWritable, or nil if the store has no such method.
func guardCheckWritable(store AccountStore) func(context.Context) error {
	s, ok := store.(interface{ CheckWritable(context.Context) error })
	if !ok {
		return nil
	}
	return func(ctx context.Context) (err error) {
		defer recoverStore("CheckWritable", &err)
		return s.CheckWritable(ctx)
	}
}

// guardDatabaseTime returns the store's method DatabaseTime, or nil if the store has no such method.
func guardDatabaseTime(store AccountStore) func(context.Context) (time.Time, error) {
	s, ok := store.(interface {
		DatabaseTime(context.Context) (time.Time, error)
	})
	if !ok {
		return nil
	}
	return func(ctx context.Context) (at time.Time, err error) {
		defer recoverStore("DatabaseTime", &err)
		return s.DatabaseTime(ctx)
	}
}

func (g guardedUsers) Register(ctx context.Context, w Write, user User, key AccessKey) (err error) {
	defer recoverStore("Register", &err)
	return g.UserStore.Register(ctx, w, user, key)
}

func (g guardedUsers) RegisterUsers(ctx context.Context, w Write, u []UserWithKeys) (r1 []error, err error) {
	defer recoverStore("RegisterUsers", &err)
	return g.UserStore.RegisterUsers(ctx, w, u)
}

func (g guardedUsers) Bootstrap(ctx context.Context, w Write, user User, key AccessKey) (err error) {
	defer recoverStore("Bootstrap", &err)
	return g.UserStore.Bootstrap(ctx, w, user, key)
}

func (g guardedUsers) FindUser(ctx context.Context, id string) (r1 User, err error) {
	defer recoverStore("FindUser", &err)
	return g.UserStore.FindUser(ctx, id)
}

func (g guardedUsers) ListUsers(ctx context.Context, query UserQuery) (r1 []User, err error) {
	defer recoverStore("ListUsers", &err)
	page, err := g.UserStore.ListUsers(ctx, query)
	if slices.ContainsFunc(page, func(u User) bool { return !query.Matches(u) }) { // it has no Position
		return nil, errors.New("auth: the store's ListUsers returned a user whom the query does not select")
	}
	return checkPage("ListUsers", query.After, page, err, query.Position)
}

func (g guardedUsers) UpdateUser(ctx context.Context, w Write, id string, c UserChange) (r1 User, err error) {
	defer recoverStore("UpdateUser", &err)
	return g.UserStore.UpdateUser(ctx, w, id, c)
}

func (g guardedUsers) ResetUser(
	ctx context.Context, w Write, id string, change UserChange, key AccessKey,
) (r1 User, r2 []GitHubToken, err error) {
	defer recoverStore("ResetUser", &err)
	return g.UserStore.ResetUser(ctx, w, id, change, key)
}

func (g guardedUsers) DeleteUser(ctx context.Context, w Write, id string) (r1 []GitHubToken, err error) {
	defer recoverStore("DeleteUser", &err)
	return g.UserStore.DeleteUser(ctx, w, id)
}

func (g guardedUsers) ListRetiredUsernames(ctx context.Context, userID string) (r1 []string, err error) {
	defer recoverStore("ListRetiredUsernames", &err)
	return g.UserStore.ListRetiredUsernames(ctx, userID)
}

func (g guardedUsers) PruneRetiredUsernames(ctx context.Context, at time.Time, n int) (r1 int, err error) {
	defer recoverStore("PruneRetiredUsernames", &err)
	return g.UserStore.PruneRetiredUsernames(ctx, at, n)
}

func (g guardedCredentials) AddKey(ctx context.Context, w Write, key AccessKey) (err error) {
	defer recoverStore("AddKey", &err)
	return g.CredentialStore.AddKey(ctx, w, key)
}

func (g guardedCredentials) ListKeys(ctx context.Context, userID string) (r1 []AccessKey, err error) {
	defer recoverStore("ListKeys", &err)
	return g.CredentialStore.ListKeys(ctx, userID)
}

func (g guardedCredentials) ListAllKeys(
	ctx context.Context, after string, limit int,
) (r1 []AccessKey, err error) {
	defer recoverStore("ListAllKeys", &err)
	page, err := g.CredentialStore.ListAllKeys(ctx, after, limit)
	return checkPage("ListAllKeys", after, page, err, func(k AccessKey) string { return k.ID })
}

func (g guardedCredentials) FindKey(ctx context.Context, id string) (r1 AccessKey, r2 User, err error) {
	defer recoverStore("FindKey", &err)
	return g.CredentialStore.FindKey(ctx, id)
}

func (g guardedCredentials) SwapHash(
	ctx context.Context, id string, old string, replacement string,
) (err error) {
	defer recoverStore("SwapHash", &err)
	return g.CredentialStore.SwapHash(ctx, id, old, replacement)
}

func (g guardedCredentials) RotateKey(
	ctx context.Context, w Write, id string, rotation KeyRotation,
) (r1 AccessKey, err error) {
	defer recoverStore("RotateKey", &err)
	return g.CredentialStore.RotateKey(ctx, w, id, rotation)
}

func (g guardedCredentials) SetKeyScopes(
	ctx context.Context, w Write, id string, scopes *ScopeSet,
) (r1 AccessKey, err error) {
	defer recoverStore("SetKeyScopes", &err)
	return g.CredentialStore.SetKeyScopes(ctx, w, id, scopes)
}

func (g guardedCredentials) TouchKey(ctx context.Context, id string, at time.Time) (err error) {
	defer recoverStore("TouchKey", &err)
	return g.CredentialStore.TouchKey(ctx, id, at)
}

func (g guardedCredentials) RevokeKey(ctx context.Context, w Write, id string) (err error) {
	defer recoverStore("RevokeKey", &err)
	return g.CredentialStore.RevokeKey(ctx, w, id)
}

func (g guardedCredentials) PruneKeys(ctx context.Context, expired time.Time, limit int) (r1 int, err error) {
	defer recoverStore("PruneKeys", &err)
	return g.CredentialStore.PruneKeys(ctx, expired, limit)
}

func (g guardedCredentials) PrunePreviousHashes(ctx context.Context, at time.Time, n int) (r int, err error) {
	defer recoverStore("PrunePreviousHashes", &err)
	return g.CredentialStore.PrunePreviousHashes(ctx, at, n)
}

func (g guardedCredentials) ListExpiringKeys(
	ctx context.Context, now time.Time, lead time.Duration, limit int,
) (r1 []AccessKey, err error) {
	defer recoverStore("ListExpiringKeys", &err)
	return g.CredentialStore.ListExpiringKeys(ctx, now, lead, limit)
}

func (g guardedCredentials) RecordExpiryNotice(
	ctx context.Context, w Write, id string, lead time.Duration,
) (err error) {
	defer recoverStore("RecordExpiryNotice", &err)
	return g.CredentialStore.RecordExpiryNotice(ctx, w, id, lead)
}

func (g guardedGitHub) ConsumeState(ctx context.Context, id string, expiresAt time.Time) (err error) {
	defer recoverStore("ConsumeState", &err)
	return g.GitHubStore.ConsumeState(ctx, id, expiresAt)
}

func (g guardedGitHub) PruneStates(ctx context.Context, expired time.Time, limit int) (r1 int, err error) {
	defer recoverStore("PruneStates", &err)
	return g.GitHubStore.PruneStates(ctx, expired, limit)
}

func (g guardedGitHub) FindGitHubLink(ctx context.Context, account GitHubAccount) (r1 GitHubLink, err error) {
	defer recoverStore("FindGitHubLink", &err)
	return g.GitHubStore.FindGitHubLink(ctx, account)
}

func (g guardedGitHub) FindGitHubConnection(
	ctx context.Context, userID string, host string,
) (r1 GitHubLink, r2 *GitHubToken, err error) {
	defer recoverStore("FindGitHubConnection", &err)
	return g.GitHubStore.FindGitHubConnection(ctx, userID, host)
}

func (g guardedGitHub) SignInGitHub(
	ctx context.Context, w Write, signIn GitHubSignInWrite,
) (r1 Session, r2 User, err error) {
	defer recoverStore("SignInGitHub", &err)
	return g.GitHubStore.SignInGitHub(ctx, w, signIn)
}

func (g guardedGitHub) ConnectGitHub(ctx context.Context, w Write, connect GitHubConnectWrite) (err error) {
	defer recoverStore("ConnectGitHub", &err)
	return g.GitHubStore.ConnectGitHub(ctx, w, connect)
}

func (g guardedGitHub) UpdateGitHubLink(ctx context.Context, link GitHubLink) (err error) {
	defer recoverStore("UpdateGitHubLink", &err)
	return g.GitHubStore.UpdateGitHubLink(ctx, link)
}

func (g guardedGitHub) ListGitHubTokens(
	ctx context.Context, host string, after string, limit int,
) (r1 []GitHubToken, err error) {
	defer recoverStore("ListGitHubTokens", &err)
	page, err := g.GitHubStore.ListGitHubTokens(ctx, host, after, limit)
	return checkPage("ListGitHubTokens", after, page, err, func(t GitHubToken) string { return t.UserID })
}

func (g guardedGitHub) LeaseGitHubToken(
	ctx context.Context, userID string, host string, version string, now time.Time, until time.Time,
) (r1 bool, err error) {
	defer recoverStore("LeaseGitHubToken", &err)
	return g.GitHubStore.LeaseGitHubToken(ctx, userID, host, version, now, until)
}

func (g guardedGitHub) ReplaceGitHubToken(
	ctx context.Context, token GitHubToken, oldVersion string,
) (err error) {
	defer recoverStore("ReplaceGitHubToken", &err)
	return g.GitHubStore.ReplaceGitHubToken(ctx, token, oldVersion)
}

func (g guardedGitHub) DeleteGitHubToken(
	ctx context.Context, w Write, userID string, host string, version string,
) (r1 GitHubToken, err error) {
	defer recoverStore("DeleteGitHubToken", &err)
	return g.GitHubStore.DeleteGitHubToken(ctx, w, userID, host, version)
}

func (g guardedGitHub) UnlinkGitHub(
	ctx context.Context, w Write, userID string, host string,
) (r1 GitHubLink, r2 *GitHubToken, err error) {
	defer recoverStore("UnlinkGitHub", &err)
	return g.GitHubStore.UnlinkGitHub(ctx, w, userID, host)
}

func (g guardedGitHub) ListGitHubAccounts(ctx context.Context, id string) (r1 []GitHubAccount, err error) {
	defer recoverStore("ListGitHubAccounts", &err)
	return g.GitHubStore.ListGitHubAccounts(ctx, id)
}

func (g guardedGitHub) ForgetGitHubAccount(ctx context.Context, w Write, account GitHubAccount) (err error) {
	defer recoverStore("ForgetGitHubAccount", &err)
	return g.GitHubStore.ForgetGitHubAccount(ctx, w, account)
}

func (g guardedGitHub) PruneGitHubAccounts(ctx context.Context, at time.Time, n int) (r1 int, err error) {
	defer recoverStore("PruneGitHubAccounts", &err)
	return g.GitHubStore.PruneGitHubAccounts(ctx, at, n)
}

func (g guardedEvents) ListEvents(ctx context.Context, f EventFilter, limit int) (r1 []Event, err error) {
	defer recoverStore("ListEvents", &err)
	return g.EventStore.ListEvents(ctx, f, limit)
}

func (g guardedEvents) ClaimEvent(ctx context.Context, now, until time.Time) (r1 Event, r2 int, err error) {
	defer recoverStore("ClaimEvent", &err)
	return g.EventStore.ClaimEvent(ctx, now, until)
}

func (g guardedEvents) FinishEvent(ctx context.Context, id string) (err error) {
	defer recoverStore("FinishEvent", &err)
	return g.EventStore.FinishEvent(ctx, id)
}

func (g guardedEvents) PruneEvents(ctx context.Context, before time.Time, limit int) (r1 int, err error) {
	defer recoverStore("PruneEvents", &err)
	return g.EventStore.PruneEvents(ctx, before, limit)
}
