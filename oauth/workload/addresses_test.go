package workload_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/oauth/workload"
)

// The attack: the name of an issuer, or a jwks_uri, leads to a service in the network of the host.
func TestAnIssuerOnAPrivateAddressIsNotAsked(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "localhost"} {
		f := newFixture(t, func(f *fixture, cfg *workload.Config) {
			cfg.Issuers = nil
			f.workload.Issuer = strings.Replace(f.issuer.URL(), "127.0.0.1", host, 1)
		})
		f.requireUnavailable("is not a public address", f.sign("iss", f.workload.Issuer))
		require.Zero(t, f.issuer.Requests())
	}
	// The document is where the host allows, and the keys are not.
	inside := 0
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside++ }))
	defer victim.Close()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	keysURL := strings.Replace(victim.URL, "127.0.0.1", "127.0.0.2", 1)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"issuer": server.URL, "jwks_uri": keysURL})
	})
	f := newFixture(t, func(f *fixture, cfg *workload.Config) {
		f.workload.Issuer = server.URL
		cfg.Issuers = []workload.Issuer{{URL: server.URL,
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}
	})
	const notSecure = "the jwks_uri of the issuer must be"
	for _, test := range []struct{ keysURL, reason string }{
		{keysURL, "127.0.0.2 is not a public address"}, {"http://169.254.169.254/latest", notSecure},
		{"https://169.254.169.254/latest", "169.254.169.254 is not a public address"},
		{"file:///etc/passwd", notSecure}, {"", notSecure}, {"https://user@keys.example.com", notSecure},
		{"https://keys.example.com?x=1", notSecure},
	} {
		keysURL = test.keysURL
		f.requireUnavailable(test.reason, f.sign("iss", server.URL))
		f.clock.Advance(10 * time.Second)
	}
	require.Zero(t, inside)
}

func TestSpecialAddressesAreNotPublic(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"127.0.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "0.0.0.0",
		"100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "[::1]", "[::]",
		"[::ffff:10.0.0.1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::10.0.0.1]", "[2002:7f00:1::]",
		"[2001:0:1::1]", "[fe80::1]", "[fe80::1%25eth0]", "[fd00::1]", "[fec0::1]", "[ff02::1]",
		"[2001:db8::1]", "[2001:db8::1%25eth0]", "[2002:7f00:1::%25eth0]", "[64:ff9b::10.0.0.1%25eth0]",
		"[fd00:ec2::254]",
	} {
		require.Error(t, workload.CheckAddress(strings.Replace(address, "%25", "%", 1)+":443"), address)
	}
	for _, address := range []string{"140.82.112.3", "8.8.8.8", "[2606:50c0:8000::153]", "[::ffff:8.8.8.8]",
		"[64:ff9b::8.8.8.8]"} {
		require.NoError(t, workload.CheckAddress(address+":443"), address)
	}
	allowed := netip.MustParsePrefix("10.96.0.0/12")
	require.NoError(t, workload.CheckAddress("10.96.0.1:443", allowed))
	require.NoError(t, workload.CheckAddress("[::ffff:10.96.0.1]:443", allowed))
	require.Error(t, workload.CheckAddress("10.0.0.1:443", allowed))
	require.Error(t, workload.CheckAddress("name:443"))
	// A network does not contain an address with a zone, but the zone leads to no other address.
	require.NoError(t, workload.CheckAddress("[fe80::1%eth0]:443", netip.MustParsePrefix("fe80::/10")))
}
