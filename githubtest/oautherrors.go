package githubtest

import "net/url"

// oauthError is an error of the OAuth web flow. The code and the description are those of GitHub.
type oauthError struct {
	code, description, uri string
}

func (e *oauthError) values() url.Values {
	return url.Values{"error": {e.code}, "error_description": {e.description}, "error_uri": {e.uri}}
}

// The pages of GitHub's documentation that describe the errors.
const (
	docsOfAuthorize = "/apps/building-integrations/setting-up-and-registering-oauth-apps/" +
		"troubleshooting-authorization-request-errors/#"
	docsOfToken = "/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/#"
)

// Errors that are sent to the app's callback URL.
var (
	errAccessDenied = &oauthError{"access_denied",
		"The user has denied your application access.", docsOfAuthorize + "access-denied"}
	errAuthorizeRedirect = &oauthError{"redirect_uri_mismatch",
		"The redirect_uri MUST match the registered callback URL for this application.", docsOfAuthorize + "redirect-uri-mismatch"}
	errInvalidRequest = &oauthError{"invalid_request",
		"PKCE needs both code_challenge and code_challenge_method, and the method must be S256.", docsOfAuthorize + "invalid-request"}
)

// Errors of the token endpoint.
var (
	errCredentials = &oauthError{"incorrect_client_credentials",
		"The client_id and/or client_secret passed are incorrect.", docsOfToken + "incorrect-client-credentials"}
	errTokenRedirect = &oauthError{"redirect_uri_mismatch",
		"The redirect_uri MUST match the registered callback URL for this application.", docsOfToken + "redirect-uri-mismatch2"}
	errBadCode = &oauthError{"bad_verification_code",
		"The code passed is incorrect or expired.", docsOfToken + "bad-verification-code"}
	errUnverifiedEmail = &oauthError{"unverified_user_email",
		"The user must have a verified primary email.", docsOfToken + "unverified-user-email"}
	errBadRefresh = &oauthError{"bad_refresh_token",
		"The refresh token passed is incorrect or expired.", docsOfToken + "bad-refresh-token"}
	errGrantType = &oauthError{"unsupported_grant_type",
		"The grant type is not supported.", docsOfToken + "unsupported-grant-type"}
	errSuspended = &oauthError{"application_suspended",
		"Your application has been suspended.", docsOfAuthorize + "application-suspended"}
)

// tokenErrors are all errors of the token endpoint.
var tokenErrors = []*oauthError{
	errCredentials, errTokenRedirect, errBadCode, errUnverifiedEmail, errBadRefresh, errGrantType, errSuspended,
}
