package workload

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/sallyport-go/auth/internal/keyset"
	"github.com/sallyport-go/auth/internal/regularfile"
)

// Issuer has the settings of an issuer whose keys cannot be read without them. An issuer in the internet
// needs none.
type Issuer struct {
	// URL is the Issuer of the workloads.
	URL string

	// Networks are addresses that the verifier may connect to, beside public ones. Without them, it refuses
	// private, loopback, link-local and other special addresses, whatever name leads to them.
	Networks []netip.Prefix

	// RootCAs verify the certificate of the issuer. nil means the certificates of the system.
	RootCAs *x509.CertPool

	// KeysURL is where the issuer has its keys (a JWK set). Empty means the jwks_uri of the document at URL
	// + "/.well-known/openid-configuration".
	KeysURL string

	// TokenFile is the name of a file with a bearer token that the issuer requires. The verifier reads it
	// for every request, and sends it to KeysURL only, which is required then.
	TokenFile string
}

// settingsOf returns the settings by the URL of the issuer.
func settingsOf(issuers []Issuer) (map[string]Issuer, error) {
	settings := map[string]Issuer{}
	for i, setting := range issuers {
		_, twice := settings[setting.URL]
		switch {
		case twice:
			return nil, fmt.Errorf("workload: Config.Issuers[%d].URL is in the list twice", i)
		case setting.TokenFile != "" && setting.KeysURL == "":
			return nil, fmt.Errorf("workload: Config.Issuers[%d].KeysURL is required with TokenFile", i)
		}
		if setting.KeysURL != "" {
			if err := checkURL(setting.KeysURL); err != nil {
				return nil, fmt.Errorf("workload: Config.Issuers[%d].KeysURL %w", i, err)
			}
		}
		setting.Networks = slices.Clone(setting.Networks)
		settings[setting.URL] = setting
	}
	return settings, nil
}

const (
	maxBody    = 256 << 10 // bytes of an answer
	maxHeaders = 32 << 10  // bytes of the headers of an answer

	maxTokenFile = 64 << 10 // bytes
)

// newClient returns a client for the calls of an issuer. The context of each request must have a deadline.
func newClient(setting Issuer) *http.Client {
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		// The address is the one that is connected to. A name that leads to different addresses each time
		// (DNS rebinding) cannot pass a check here.
		return checkAddress(address, setting.Networks)
	}}
	return &http.Client{Transport: strictTransport{&http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: setting.RootCAs, MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: maxHeaders,
		DisableCompression:     true, // a small answer could become a large one
		DisableKeepAlives:      true, // the next request comes in minutes
	}}}
}

// strictTransport returns an error for every answer that is not 200, so the client follows no redirect. It
// limits the length of the others.
type strictTransport struct{ base http.RoundTripper }

func (t strictTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, statusError(response.StatusCode)
	}
	response.Body = limitedBody{response.Body, &io.LimitedReader{R: response.Body, N: maxBody + 1}}
	return response, nil
}

// statusError is the status of an answer that is not 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("the issuer answers with status %d", int(e)) }

// isRefusal reports whether the issuer, or a proxy in front of it, has refused to return keys: see
// [keyset.IsRefusal]. If the request had the token of a TokenFile, 401 and 403 are about this token, which
// can have expired, and not about the keys.
func (e statusError) isRefusal(withToken bool) bool {
	if withToken && (e == http.StatusUnauthorized || e == http.StatusForbidden) {
		return false
	}
	return keyset.IsRefusal(int(e))
}

var errTooLong = fmt.Errorf("the answer of the issuer has more than %d bytes", maxBody)

// limitedBody returns errTooLong after maxBody bytes.
type limitedBody struct {
	io.Closer
	limited *io.LimitedReader
}

func (b limitedBody) Read(p []byte) (int, error) {
	n, err := b.limited.Read(p)
	if b.limited.N == 0 {
		return 0, errTooLong
	}
	return n, err
}

// get returns the text at the URL. If the issuer has a TokenFile, the request has its token.
func get(ctx context.Context, client *http.Client, rawURL, tokenFile string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Cache-Control", "no-cache") // a cache between would not have a new key
	if tokenFile != "" {
		token, err := regularfile.Read(tokenFile, maxTokenFile)
		if err != nil {
			return nil, fmt.Errorf("TokenFile: %w", err)
		}
		text := strings.TrimSpace(string(token))
		if text == "" { // a program is replacing the file
			return nil, fmt.Errorf("TokenFile: %s is empty", tokenFile)
		}
		r.Header.Set("Authorization", "Bearer "+text)
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// reserved are networks of special addresses (RFC 6890) that [netip.Addr] does not know. Some of them can
// lead to a private address.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared by the customers of a provider
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), // IPv4 addresses
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), // tunnels, such as Teredo
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("fec0::/10"), // site-local
}

// nat64 has the IPv4 addresses that a network without IPv4 reaches (RFC 6052, section 2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// checkAddress returns an error unless the address is public or in one of the networks.
func checkAddress(address string, networks []netip.Prefix) error {
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := parsed.Addr().Unmap().WithZone("")
	if bytes := ip.As16(); nat64.Contains(ip) {
		ip = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	in := func(network netip.Prefix) bool { return network.Contains(ip) }
	if slices.ContainsFunc(networks, in) ||
		ip.IsGlobalUnicast() && !ip.IsPrivate() && !slices.ContainsFunc(reserved, in) {
		return nil
	}
	return fmt.Errorf("%s is not a public address: if the issuer is there, add its network to "+
		"Issuer.Networks", ip)
}

// isLoopback reports whether the host is a loopback address or localhost.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}
