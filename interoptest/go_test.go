package interoptest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/sallyport-go/auth"
)

// clientOf returns a client of x/oauth2 with an access key.
func (f *fixture) clientOf(
	pair auth.KeyPair, style oauth2.AuthStyle, form url.Values,
) clientcredentials.Config {
	return clientcredentials.Config{ClientID: pair.AccessKey, ClientSecret: pair.AccessSecret.Reveal(),
		TokenURL: f.server.URL + "/auth/token", AuthStyle: style, EndpointParams: form}
}

var styles = []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams,
	oauth2.AuthStyleAutoDetect}

func TestXOAuth2SignsInWithEveryKindOfKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, pair := range []auth.KeyPair{f.ada.Pair, importedPair} {
		for _, style := range styles {
			cfg := f.clientOf(pair, style, nil)
			response, err := cfg.Client(f.clientContext(t)).Get(f.server.URL + "/reports")
			require.NoError(t, err, pair.AccessKey)
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusOK, response.StatusCode, pair.AccessKey)
		}
	}
}

func TestXOAuth2ReadsTheErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	wrong := auth.KeyPair{AccessKey: f.ada.Pair.AccessKey, AccessSecret: auth.NewSecret("wrong")}
	for _, test := range []struct {
		pair   auth.KeyPair
		form   url.Values
		status int
		code   string
	}{
		{wrong, nil, http.StatusUnauthorized, "invalid_client"},
		{f.ada.Pair, url.Values{"scope": {"nothing"}}, http.StatusBadRequest, "invalid_scope"},
		{f.ada.Pair, url.Values{"resource": {"https://unknown.example.com"}}, http.StatusBadRequest,
			"invalid_target"},
		{f.ada.Pair, url.Values{"grant_type": {"password"}}, http.StatusBadRequest, "unsupported_grant_type"},
	} {
		for _, style := range styles {
			cfg := f.clientOf(test.pair, style, test.form)
			_, err := cfg.Token(f.clientContext(t))
			var refused *oauth2.RetrieveError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, test.code, refused.ErrorCode)
			require.Equal(t, test.status, refused.Response.StatusCode)
			require.NotEmpty(t, refused.ErrorDescription)
		}
	}
}

// x/oauth2 has no call for token exchange, but its client can send another grant type.
func TestXOAuth2ExchangesAToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cfg := f.clientOf(f.ada.Pair, oauth2.AuthStyleInHeader, nil)
	subject, err := cfg.Token(f.clientContext(t))
	require.NoError(t, err)
	for _, style := range styles {
		cfg := f.clientOf(f.agent.Pair, style, url.Values{
			"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token":      {subject.AccessToken},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
			"resource":           {resource}, "scope": {"reports:read"},
		})
		delegated, err := cfg.Token(f.clientContext(t))
		require.NoError(t, err)
		require.Equal(t, "urn:ietf:params:oauth:token-type:access_token",
			delegated.Extra("issued_token_type"))
		require.Equal(t, "reports:read", delegated.Extra("scope"))
		identity, err := f.svc.Tokens().VerifyFor(t.Context(), resource, delegated.AccessToken)
		require.NoError(t, err)
		require.Equal(t, f.ada.User.ID, identity.UserID)
		require.Equal(t, f.agent.User.ID, identity.Actor)
	}
}

// The service is no OpenID provider, so it has no openid-configuration. But go-oidc can read the metadata of
// RFC 8414, and verify tokens with the key set. It then sees no revocations.
func TestGoOIDCVerifiesTokensWithTheMetadata(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.clientContext(t)
	_, err := oidc.NewProvider(ctx, f.server.URL)
	require.ErrorContains(t, err, "404")
	response, err := f.server.Client().Get(f.server.URL + "/.well-known/oauth-authorization-server")
	require.NoError(t, err)
	defer response.Body.Close()
	var metadata oidc.ProviderConfig
	require.NoError(t, json.NewDecoder(response.Body).Decode(&metadata))
	require.Equal(t, f.server.URL, metadata.IssuerURL)
	provider := metadata.NewProvider(ctx)
	require.Equal(t, f.server.URL+"/auth/token", provider.Endpoint().TokenURL)

	token := func(form url.Values) string {
		cfg := f.clientOf(f.ada.Pair, oauth2.AuthStyleInHeader, form)
		token, err := cfg.Token(ctx)
		require.NoError(t, err)
		return token.AccessToken
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: resource, SupportedSigningAlgs: []string{"EdDSA"}})
	good := token(url.Values{"resource": {resource}, "scope": {"reports:read"}})
	verified, err := verifier.Verify(ctx, good)
	require.NoError(t, err)
	require.Equal(t, f.ada.User.ID, verified.Subject)
	var claims struct {
		Scope    string `json:"scope"`
		Username string `json:"username"`
	}
	require.NoError(t, verified.Claims(&claims))
	require.Equal(t, "reports:read", claims.Scope)
	require.Equal(t, "ada", claims.Username)

	_, err = verifier.Verify(ctx, token(nil))
	require.ErrorContains(t, err, "audience", "a token for the issuer")
	_, err = verifier.Verify(ctx, good[:len(good)-4]+"AAAA")
	require.ErrorContains(t, err, "signature")
}
