package oauth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/internal/text"
	"github.com/sallyport-go/auth/internal/weburl"
)

// Config configures a [Server]. The zero value serves neither devices nor workloads.
type Config struct {
	// Workloads lets CI jobs and other programs sign in with an assertion of an issuer that the host trusts
	// (RFC 7523). nil means that the server does not support this grant.
	Workloads AssertionVerifier

	// DeviceClients are the programs that can sign a person in without a browser of their own: the device
	// authorization grant (RFC 8628). nil means that there is no such program. See
	// [auth.Service.CheckDevices] for what the service needs.
	DeviceClients []DeviceClient

	// DevicePage is the URL of the page on which people approve devices, such as
	// "https://example.com/console/device", the page of package console. It must be https or on loopback,
	// without a query, and the browser must reach the service at the same origin. It is required if there
	// are DeviceClients, and otherwise empty.
	DevicePage string
}

// DeviceClient is a program that signs a person in on a device: see [Config.DeviceClients].
type DeviceClient struct {
	// ID is the client_id of the program: 1 to 64 letters, digits, hyphens, underscores and dots. It is no
	// secret: every program can use the ID of another one.
	ID string

	// Name is the name of the program that the page shows to people, at most 128 bytes.
	Name string

	// Scopes are the scopes that the program can get. They are scopes that a key can have, and there is at
	// least one: see [auth.TokenConfig]. If the host removes a scope from the list, a device code that was
	// given before keeps its scopes for its ten minutes.
	Scopes []string
}

// deviceClients checks the configuration and returns the clients by their IDs. It returns nil if there are
// none.
func (cfg Config) deviceClients(svc *auth.Service) (map[string]deviceClient, error) {
	if len(cfg.DeviceClients) == 0 {
		if cfg.DevicePage != "" {
			return nil, errors.New("oauth: Config.DevicePage must be empty without DeviceClients")
		}
		return nil, nil
	}
	if err := svc.CheckDevices(); err != nil {
		return nil, fmt.Errorf("oauth: Config.DeviceClients: %w", err)
	}
	page, err := url.Parse(cfg.DevicePage)
	if err != nil || !weburl.IsSecure(page) || page.User != nil || page.Host == "" || page.Path == "" ||
		strings.ContainsAny(cfg.DevicePage, "?#") {
		return nil, errors.New("oauth: Config.DevicePage must be the URL of a page, such as " +
			"https://example.com/console/device: https or on loopback, without a query")
	}
	known := svc.Tokens().Scopes()
	clients := map[string]deviceClient{}
	for i, client := range cfg.DeviceClients {
		setting := fmt.Sprintf("oauth: Config.DeviceClients[%d]", i)
		scopes := auth.NewScopes(client.Scopes...)
		_, taken := clients[client.ID]
		switch {
		case !isClientID(client.ID):
			return nil, fmt.Errorf("%s.ID must be 1 to %d letters, digits, hyphens, underscores and dots",
				setting, limits.ID)
		case taken:
			return nil, fmt.Errorf("%s.ID is in the list twice", setting)
		case client.Name == "" || text.Flaw(client.Name, limits.Username) != "":
			return nil, fmt.Errorf("%s.Name must be 1 to %d bytes of text", setting, limits.Username)
		case len(client.Scopes) == 0:
			return nil, fmt.Errorf("%s.Scopes must have at least one scope", setting)
		case scopes.Validate() != nil || !scopes.Within(known):
			return nil, fmt.Errorf("%s.Scopes must be scopes that a key can have: see "+
				"auth.TokenConfig.Scopes", setting)
		}
		clients[client.ID] = deviceClient{id: client.ID, name: client.Name, scopes: scopes}
	}
	return clients, nil
}

// isClientID reports whether the text can be the ID of a client. It needs no escapes in a form or a header.
func isClientID(id string) bool {
	return id != "" && len(id) <= limits.ID && !slices.ContainsFunc([]byte(id), func(b byte) bool {
		return !('a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' ||
			strings.IndexByte("-_.", b) >= 0)
	})
}
