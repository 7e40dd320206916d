package wiretest

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// eventKinds returns the kinds of events that package eventkind declares, sorted.
func eventKinds(t testing.TB) (kinds []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../eventkind/eventkind.go", nil, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Kind" {
				text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				kinds = append(kinds, text)
			}
		}
		return true
	})
	require.Greater(t, len(kinds), 20)
	slices.Sort(kinds)
	return kinds
}

func TestTheEventsPageListsEveryKind(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/events.md")
	require.NoError(t, err)
	var listed []string
	row := regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\|")
	for _, match := range row.FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, match[1])
	}
	slices.Sort(listed)
	require.Equal(t, eventKinds(t), listed)
}

// The test causes every kind of event, with an HTTP call if there is one.
func TestEveryKindOfEventOccursWithoutSecrets(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	g := newGitHub(t, githubOptions{
		fake: githubtest.Config{TokenLifetime: time.Hour},
		configure: func(_ *githubFixture, cfg *auth.Config) {
			cfg.OnEvent = got.Add
			cfg.Credentials.AllowImported, cfg.Proxies = true, auth.NoProxies()
			cfg.Tokens.Scopes, cfg.Tokens.Audiences = []string{reading}, []string{audience}
		},
	})
	secrets := []string{g.adminPair.AccessSecret.Reveal(), g.userPair.AccessSecret.Reveal()}
	secretField := regexp.MustCompile(`"(?:token|access_secret)":"([^"]+)"`)
	keep := func(r response) response {
		for _, match := range secretField.FindAllStringSubmatch(r.body, -1) {
			secrets = append(secrets, match[1])
		}
		return r
	}
	as := func(token, method, path, body string) response {
		t.Helper()
		r := keep(g.send(method, path, body, "Authorization", "Bearer "+token,
			"User-Agent", "curl\u202e", "X-Request-Id", "request-1"))
		require.Less(t, r.status, 300, "%s %s: %s", method, path, r.body)
		return r
	}
	admin := keep(g.login(g.adminPair)).json(t)["token"].(string)
	alice := keep(g.login(g.userPair)).json(t)["token"].(string)

	for range 21 {
		pasted := g.userPair
		pasted.AccessKey, pasted.AccessSecret = pasted.AccessSecret.Reveal(), auth.NewSecret("canary-1")
		g.login(pasted)
	}
	g.send("GET", "/auth/user", "", "Authorization", "Bearer "+alice+"canary-2")
	require.NoError(t, g.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		UserID: g.user.ID, AccessKey: "canary-3", Secret: auth.NewSecret("canary-4"),
	}))
	imported, err := g.svc.ImportUsers(t.Context(), authtest.ByHost, strings.NewReader(
		`{"username":"canary-5","keys":[{"access_key":"canary-6","hash":"`+bcrypted+`"}]}`), auth.ImportOptions{})
	require.NoError(t, err)
	require.Equal(t, 1, imported.Added)
	secrets = append(secrets, bcrypted)
	first := as(alice, "POST", "/auth/keys", `{"label":"CI"}`).pair(t)
	as(alice, "POST", "/auth/keys/"+first.AccessKey+"/rotate", `{"overlap_seconds":60}`)
	require.NoError(t, g.svc.Credentials().SetScopes(t.Context(), authtest.ByHost, first.AccessKey, nil))
	as(alice, "DELETE", "/auth/keys/"+first.AccessKey, "")
	leaked := as(alice, "POST", "/auth/keys", "").pair(t)
	_, err = g.svc.Credentials().RevokeLeaked(t.Context(), leaked.AccessSecret)
	require.NoError(t, err)

	agent, err := g.svc.Register(t.Context(), authtest.ByHost,
		auth.UserParams{Username: "agent", IsService: true, Audiences: []string{audience}})
	require.NoError(t, err)
	delegated, err := g.svc.Tokens().Delegate(t.Context(), g.identify(alice), auth.Delegation{
		For: agent.User.ID, Audience: audience, Scopes: auth.NewScopes(reading)})
	require.NoError(t, err)
	secrets = append(secrets, agent.Pair.AccessSecret.Reveal(), delegated.Bearer.Reveal())
	secrets = append(secrets, decideAboutDevices(t, g, got.Add, g.identify(alice).Authority())...)

	require.Equal(t, 200, g.browser().connect(alice).status)
	require.Equal(t, http.StatusForbidden, g.deny(alice).status)
	require.Equal(t, http.StatusForbidden, g.sendAs(alice, "GET", "/auth/users", "").status)
	g.clock.Advance(59 * time.Minute)
	source := g.svc.GitHub().TokenSource(t.Context(), g.user.ID)
	refreshed, err := source.Token()
	require.NoError(t, err)
	secrets = append(secrets, refreshed.AccessToken)
	as(alice, "POST", disconnectCall, "")
	require.Equal(t, 200, g.browser().connect(alice).status)
	g.fake.Revoke(octocat)
	g.sendAs(alice, "GET", verifyCall, "")
	as(alice, "DELETE", unlinkCall, "")
	require.NoError(t, g.svc.GitHub().Forget(t.Context(), authtest.ByHost, auth.GitHubAccount{
		Host: "githubtest.invalid", ID: octocat,
	}))
	signedIn := g.browser().signIn()
	secrets = append(secrets, signedIn["token"].(string))

	as(alice, "POST", "/auth/logout", "")
	as(admin, "POST", "/auth/users/register", `{"username":"new","email":"new@example.com"}`)
	as(admin, "PATCH", "/auth/users/"+g.user.ID, `{"is_active":false}`)
	as(admin, "POST", "/auth/users/"+g.user.ID+"/reinstate", "")
	as(admin, "POST", "/auth/tokens/revoke-user/"+g.user.ID, "")
	as(admin, "DELETE", "/auth/users/"+g.user.ID, "")
	pair, err := g.svc.RecoverSuperUser(t.Context(), g.admin.ID)
	require.NoError(t, err)
	secrets = append(secrets, pair.AccessSecret.Reveal())
	require.NoError(t, g.svc.RevokeEverybody(t.Context(), authtest.ByHost))
	fresh := authtest.NewSigners(t)["EdDSA"].Key
	require.NoError(t, g.svc.Tokens().SetKeys([]auth.SigningKey{g.signer.Key, fresh}))

	_, err = g.svc.Credentials().Issue(t.Context(), authtest.ByHost, g.admin.ID,
		auth.KeyOptions{ExpiresAt: g.clock.Now().Add(20 * day)})
	require.NoError(t, err)
	g.clock.Advance(7 * day)
	_, err = g.svc.Prune(t.Context())
	require.NoError(t, err)
	for _, agent := range []string{"first", "second"} {
		_, err = g.svc.SignIn(clientAt(t, "192.0.2.1", agent), g.admin.ID, auth.LoginOptions{})
		require.NoError(t, err)
	}

	events := got.Deliver(t, g.svc)
	// The empty store simulates a store that was restored from a backup. The backup is older than
	// the first revocation.
	restored, err := auth.New(memstore.New(), auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{g.signer.Key}, Now: g.clock.Now,
		OnEvent: got.Add, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, status(restored, g.signIn(g.admin)))
	events = append(events, got.Deliver(t, restored)...)
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, string(e.Kind))
		require.False(t, e.At.IsZero())
		require.Equal(t, time.UTC, e.At.Location())
	}
	slices.Sort(kinds)
	require.Equal(t, eventKinds(t), slices.Compact(kinds))

	text, err := json.Marshal(events)
	require.NoError(t, err)
	all := string(text) + fmt.Sprintf("%+v", events) + g.log.String()
	for _, e := range events {
		all += e.LogValue().String()
	}
	require.Greater(t, len(secrets), 8)
	for _, secret := range append(secrets, "canary") {
		require.NotContains(t, all, secret)
	}

	disabled := slices.IndexFunc(events, func(e auth.Event) bool { return e.Kind == eventkind.UserChanged })
	require.Equal(t, auth.Event{
		ID: events[disabled].ID, SessionID: events[disabled].SessionID,
		Kind: eventkind.UserChanged, At: events[disabled].At, UserID: g.user.ID,
		ActorID: g.admin.ID, Reason: "is_active=false",
		Client: auth.ClientInfo{
			Address: events[disabled].Client.Address, UserAgent: "curl", RequestID: "request-1",
		},
	}, events[disabled])
	require.Equal(t, "192.0.2.1", events[disabled].Client.Address.String())
}

// deny begins a flow that connects a GitHub account, and lets the user deny it at GitHub.
func (g *githubFixture) deny(token string) page {
	b := g.browser()
	state := queryOf(g.t, b.connectURL(token)).Get("state")
	return b.get(callbackCall + "?error=access_denied&state=" + state)
}

func TestOnlyTheOperatorLearnsWhyASignInWasRejected(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	expiring, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID,
		auth.KeyOptions{ExpiresAt: f.clock.Now().Add(time.Minute)})
	require.NoError(t, err)
	f.clock.Advance(time.Minute)
	wrong := f.userPair
	wrong.AccessSecret = authtest.WrongSecret(wrong.AccessKey)
	got.Deliver(t, f.svc)

	f.login(auth.KeyPair{AccessKey: "x", AccessSecret: auth.NewSecret("y")})
	f.login(f.wrong())
	f.login(wrong)
	f.login(expiring)
	f.setActive(f.user, false)
	answer := f.login(f.userPair)
	require.Equal(t, 401, answer.status)
	require.JSONEq(t, `{"detail": "Invalid access key or secret"}`, answer.body)

	var reasons, keys, users []string
	for _, e := range got.Deliver(t, f.svc) {
		if e.Kind == eventkind.SignInRejected {
			reasons = append(reasons, e.Reason)
			keys, users = append(keys, e.AccessKey), append(users, e.UserID)
		}
	}
	require.Equal(t, []string{"", "", f.user.ID, f.user.ID, f.user.ID}, users,
		"the owner of the key, if the key exists")
	require.Equal(t, []string{
		"not of the form of a pair", "no such key", "wrong secret", "the key has expired",
		"the user is disabled",
	}, reasons)
	require.Empty(t, keys[0])
	require.Equal(t, f.userPair.AccessKey, keys[4])
}

func TestARevokedTokenIsLoggedWithItsUser(t *testing.T) {
	t.Parallel()
	for _, inStore := range []bool{false, true} {
		f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Tokens.CheckSessionsInStore = inStore })
		token := f.signIn(f.user)
		forged := token[:len(token)-4] + "AAAA"
		requireLogged := func(token, reason, user string) {
			t.Helper()
			f.log.Reset()
			require.Equal(t, http.StatusUnauthorized, f.sendAs(token, "GET", "/auth/user", "").status)
			require.Regexp(t,
				`token.rejected" event.kind=token.rejected `+user+`event.reason="?`+reason, f.log.String())
		}
		requireLogged(forged, "", "")
		require.Equal(t, http.StatusOK, f.sendAs(token, "POST", "/auth/logout", "").status)
		requireLogged(token, "no such session", `event.user_id=`+f.user.ID+` event.session_id=\S+ `)
	}
}

func TestEventsOfAHostsHandlerHaveTheClientOfTheRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	request := httptest.NewRequest("POST", "/promote", nil)
	request.Header.Set("Authorization", "Bearer "+f.signIn(f.admin))
	request.Header.Set("User-Agent", "curl\u202e/8")
	request.Header.Set("X-Request-Id", "request-9")
	superUser := func(next http.Handler) http.Handler {
		return f.svc.Authenticate(f.svc.RequireSuperUser(next))
	}
	for i, protect := range []func(http.Handler) http.Handler{f.svc.Authenticate, superUser} {
		f.log.Reset()
		protect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := f.svc.UpdateUser(r.Context(), authtest.ByHost, f.user.ID,
				auth.UserChange{IsActive: new(i == 1)})
			require.NoError(t, err)
		})).ServeHTTP(httptest.NewRecorder(), request)
		require.Regexp(t,
			`user.changed .*event.actor_id=`+f.admin.ID+
				`.* event.address=192.0.2.1 event.user_agent=curl/8 event.request_id=request-9`,
			f.log.String())
	}
}

func TestEventsAfterRunHasEndedAreLogged(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	require.Len(t, got.Deliver(t, f.svc), 2)
	f.log.Reset()
	f.login(f.userPair)
	require.Contains(t, f.log.String(), "auth: sign_in.accepted")
	require.Len(t, got.Deliver(t, f.svc), 1, "another Run delivers the first event")
}

func TestWithoutOnEventEventsAreLogged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.send("POST", "/auth/users/login", loginBody(f.userPair), "X-Request-Id", "request-7",
		"User-Agent", "curl/8.14.1")
	f.login(f.wrong())
	require.Regexp(t,
		`level=INFO msg="auth: sign_in.accepted" event.kind=sign_in.accepted event.user_id=`+f.user.ID+
			` event.actor_id=`+f.user.ID+` event.session_id=\S+ event.access_key=`+f.userPair.AccessKey+
			` event.method=access_key event.address=192.0.2.1 event.user_agent=curl/8.14.1`+
			` event.request_id=request-7`,
		f.log.String())
	require.Regexp(t, `level=WARN msg="auth: sign_in.rejected" .*event.reason="no such key"`, f.log.String())
}

func TestASlowOrPanickingOnEventDoesNotDelayRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		calls := 0
		f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
			cfg.Now = time.Now
			cfg.OnEvent = func(auth.Event) {
				calls++
				if calls == 1 {
					panic("the host's mistake")
				}
				<-release
			}
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.svc.Run(ctx) }()
		synctest.Wait()
		began := time.Now()
		for range 5000 { // more than the queue holds
			f.requireLogin(f.userPair, http.StatusOK)
		}
		require.Zero(t, time.Since(began), "no request waits")
		close(release)
		synctest.Wait()
		require.Equal(t, 1025, calls-1, "the event being delivered, and 1024 in the queue")
		f.requireLogin(f.userPair, http.StatusOK)
		synctest.Wait()
		stop()
		<-ended
		require.Regexp(t, `OnEvent panicked" event.kind=[a-z_.]+ .*event.user_id=\w+`, f.log.String(),
			"the event is in no other place")
		require.Contains(t, f.log.String(), "events are dropped")
		require.Regexp(t, `events were dropped because OnEvent did not keep up" events=\d+`, f.log.String())
	})
}

func TestAFloodOfRejectedTokensDropsNoSignInEvents(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	got.Deliver(t, f.svc)
	for range 10_000 {
		_, err := f.svc.Identify(newBearer("x"))
		require.ErrorIs(t, err, auth.ErrTokenRejected)
	}
	for range 1000 {
		f.signIn(f.user)
	}
	kinds := map[eventkind.Kind]int{}
	for _, e := range got.Deliver(t, f.svc) {
		kinds[e.Kind]++
	}
	require.Equal(t, 1000, kinds[eventkind.SignedIn])
	require.Equal(t, 512, kinds[eventkind.TokenRejected])
}

// newBearer returns a request with the bearer token.
func newBearer(token string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func TestRunWaitsFiveSecondsForAHangingOnEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
			cfg.Now = time.Now
			cfg.OnEvent = func(auth.Event) { <-stuck }
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.svc.Run(ctx) }()
		synctest.Wait()
		stop()
		began := time.Now()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.Equal(t, 5*time.Second, time.Since(began))
	})
}
