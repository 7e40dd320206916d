package oauth_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

const (
	exchange    = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessToken = "urn:ietf:params:oauth:token-type:access_token"
)

// exchangeForm returns a valid request of a service user for a delegated token. Each further pair replaces a
// parameter, and an empty value removes it.
func exchangeForm(pair auth.KeyPair, subject string, replace ...string) url.Values {
	form := client(pair, "grant_type", exchange, "subject_token", subject, "subject_token_type", accessToken,
		"resource", reports, "scope", "reports:read")
	for i := 0; i < len(replace); i += 2 {
		form.Set(replace[i], replace[i+1])
	}
	return form
}

func TestAServiceUserGetsADelegatedToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	user := f.token(f.ada.Pair, auth.LoginOptions{})
	a := f.post("/auth/token", exchangeForm(f.agent.Pair, user))
	require.Equal(t, 200, a.status, a.text)
	require.Equal(t, accessToken, a.body["issued_token_type"])
	require.Equal(t, "Bearer", a.body["token_type"])
	require.EqualValues(t, 900, a.body["expires_in"])
	require.Equal(t, "reports:read", a.body["scope"])
	token := a.body["access_token"].(string)
	identity, err := f.svc.Tokens().VerifyFor(t.Context(), reports, token)
	require.NoError(t, err)
	require.Equal(t, f.ada.User.ID, identity.UserID)
	require.Equal(t, f.agent.User.ID, identity.Actor)
	_, err = f.svc.Tokens().Verify(t.Context(), token)
	require.ErrorIs(t, err, auth.ErrTokenRejected)

	a = f.post("/auth/token", exchangeForm(f.agent.Pair, user, "resource", "", "audience", reports,
		"requested_token_type", accessToken))
	require.Equal(t, 200, a.status, a.text)

	require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), user))
	_, err = f.svc.Tokens().VerifyFor(t.Context(), reports, token)
	require.ErrorIs(t, err, auth.ErrTokenRejected, "it ends with the session of the user")
	require.Equal(t, "invalid_request", f.post("/auth/token", exchangeForm(f.agent.Pair, user)).code())
}

func TestExchangesThatAreNotAllowedAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	user := f.token(f.ada.Pair, auth.LoginOptions{})
	limited := f.token(f.key(f.ada.User, auth.NewScopes("reports:read")), auth.LoginOptions{})
	elsewhere := f.token(f.ada.Pair, auth.LoginOptions{Audience: reports})
	narrow := f.key(f.agent.User, auth.NewScopes("reports:read"))
	delegated := f.post("/auth/token", exchangeForm(f.agent.Pair, user)).body["access_token"].(string)
	ask, unknown := exchangeForm, "https://unknown.example.com"
	for name, test := range map[string]struct {
		form url.Values
		code string
	}{
		"no subject":             {ask(f.agent.Pair, ""), "invalid_request"},
		"no type":                {ask(f.agent.Pair, user, "subject_token_type", ""), "invalid_request"},
		"another type":           {ask(f.agent.Pair, user, "subject_token_type", "urn:x"), "invalid_request"},
		"another requested type": {ask(f.agent.Pair, user, "requested_token_type", "urn:x"), "invalid_request"},
		"an actor token":         {ask(f.agent.Pair, user, "actor_token", user), "invalid_request"},
		"an actor token type": {ask(f.agent.Pair, user, "actor_token_type", accessToken),
			"invalid_request"},
		"no resource":      {ask(f.agent.Pair, user, "resource", ""), "invalid_target"},
		"the issuer":       {ask(f.agent.Pair, user, "resource", f.url), "invalid_target"},
		"unknown resource": {ask(f.agent.Pair, user, "resource", unknown), "invalid_target"},
		"not of this service user": {ask(f.agent.Pair, user, "resource", other),
			"invalid_target"},
		"two resources": {ask(f.agent.Pair, user, "audience", other),
			"invalid_target"},
		"no scope":                {ask(f.agent.Pair, user, "scope", ""), "invalid_scope"},
		"a scope of the library":  {ask(f.agent.Pair, user, "scope", "auth:keys"), "invalid_scope"},
		"beyond the user's token": {ask(f.agent.Pair, limited, "scope", "reports:write"), "invalid_scope"},
		"beyond the agent's key":  {ask(narrow, user, "scope", "reports:write"), "invalid_scope"},
		"a person":                {ask(f.ada.Pair, user), "unauthorized_client"},
		"no client":               {ask(auth.KeyPair{}, user), "invalid_client"},
		"a token for the service": {ask(f.agent.Pair, elsewhere), "invalid_request"},
		"a delegated token":       {ask(f.agent.Pair, delegated), "invalid_request"},
		"a forged token":          {ask(f.agent.Pair, user[:len(user)-4]+"AAAA"), "invalid_request"},
		"something else":          {ask(f.agent.Pair, strings.Repeat("x", 5000)), "invalid_request"},
	} {
		a := f.post("/auth/token", test.form)
		require.Equal(t, test.code, a.code(), "%s: %s", name, a.text)
		require.NotContains(t, a.body, "access_token", name)
	}
	require.Equal(t, 200, f.post("/auth/token", exchangeForm(narrow, user)).status)
	twice := exchangeForm(narrow, user)
	twice["audience"] = []string{reports, reports}
	require.Equal(t, 200, f.post("/auth/token", twice).status, "the same audience twice")
	twice["audience"] = []string{reports, other}
	require.Equal(t, "invalid_target", f.post("/auth/token", twice).code())
}
