package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/sallyport-go/auth"
)

// grantDevice is the grant of a device (RFC 8628, section 3.4).
const grantDevice = "urn:ietf:params:oauth:grant-type:device_code"

// deviceClient is a checked [DeviceClient].
type deviceClient struct {
	id, name string
	scopes   *auth.ScopeSet
}

// DeviceHandler handles POST /auth/device: a program asks for the codes of a device (RFC 8628, section 3.1).
// Without [Config.DeviceClients], there is no client that may ask.
func (s *Server) DeviceHandler() http.Handler { return s.handler(s.startDevice) }

// deviceAnswer contains the codes of a device (RFC 8628, section 3.2).
type deviceAnswer struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	CompleteURI     string `json:"verification_uri_complete"`
	ExpiresIn       int64  `json:"expires_in"`
	Interval        int64  `json:"interval"`
}

func (s *Server) startDevice(r *http.Request, form form) (any, error) {
	client, err := s.deviceClient(r, form)
	if err != nil {
		return nil, err
	}
	scopes := scopesOf(form)
	if scopes == nil {
		scopes = client.scopes
	}
	if !scopes.Within(client.scopes) {
		return nil, invalidScope()
	}
	if audience, err := s.audienceOf(form); err != nil || audience != "" {
		return nil, invalidTarget("The token of a device is for the issuer only")
	}
	codes, err := s.svc.StartDevice(r.Context(), client.id, scopes)
	if err != nil {
		return nil, err
	}
	return deviceAnswer{
		DeviceCode: codes.DeviceCode.Reveal(), UserCode: codes.UserCode, VerificationURI: s.devicePage,
		CompleteURI: s.devicePage + "?" + url.Values{"user_code": {codes.UserCode}}.Encode(),
		ExpiresIn:   int64(codes.ExpiresIn / time.Second), Interval: int64(codes.Interval / time.Second),
	}, nil
}

// deviceClient returns the program that sends the request. It has no secret, so it only names itself (RFC
// 6749, section 3.2.1). A request with credentials is refused before it counts as a poll: some clients try
// the header Authorization first, and then repeat the request without it.
func (s *Server) deviceClient(r *http.Request, form form) (deviceClient, error) {
	client, known := s.devices[form.get("client_id")]
	basic := len(r.Header["Authorization"]) > 0
	if !known || basic || form.get("client_secret") != "" {
		return client, &failure{status: http.StatusUnauthorized, code: "invalid_client", basic: basic,
			description: "client_id must be that of a known device client, without a secret"}
	}
	return client, nil
}

// redeemDevice exchanges an approved device code for a token (RFC 8628, section 3.4).
func (s *Server) redeemDevice(r *http.Request, form form) (any, error) {
	client, err := s.deviceClient(r, form)
	if err != nil {
		return nil, err
	}
	code := form.get("device_code")
	if code == "" {
		return nil, invalid("device_code is required")
	}
	token, err := s.svc.RedeemDevice(r.Context(), client.id, code)
	if err != nil {
		return nil, deviceFailure(err)
	}
	return newTokenAnswer(token), nil
}

// deviceFailures are the answers to a device that gets no token (RFC 8628, section 3.5).
var deviceFailures = []struct {
	err               error
	code, description string
}{
	{auth.ErrDevicePending, "authorization_pending", "The person has not decided yet"},
	{auth.ErrDeviceSlowDown, "slow_down", "Wait five seconds longer between two requests"},
	{auth.ErrDeviceDenied, "access_denied", "The person has denied the device"},
	{auth.ErrDeviceExpired, "expired_token", "The device code has expired"},
	// In these cases, the code is unknown or used, or the person could no longer give the approval.
	{auth.ErrNotFound, invalidGrant, unknownCode},
	{auth.ErrTokenRejected, invalidGrant, unknownCode},
	{auth.ErrUserDisabled, invalidGrant, unknownCode},
	{auth.ErrServiceUser, invalidGrant, unknownCode},
	{auth.ErrInsufficientScope, invalidGrant, unknownCode},
}

const (
	invalidGrant = "invalid_grant"
	unknownCode  = "The device code is not valid"
)

// deviceFailure returns the answer to an error of [auth.Service.RedeemDevice].
func deviceFailure(err error) error {
	for _, known := range deviceFailures {
		if errors.Is(err, known.err) {
			return &failure{status: http.StatusBadRequest, code: known.code, description: known.description}
		}
	}
	return err
}
