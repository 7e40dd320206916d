package clientaddr_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-go/auth/internal/clientaddr"
	"github.com/stretchr/testify/require"
)

var (
	undecided   = clientaddr.Proxies{}
	noProxies   = clientaddr.Proxies{Decided: true}
	someProxies = trusting("10.0.0.0/8", "2001:db8:1::/48")
)

func trusting(networks ...string) clientaddr.Proxies {
	proxies := clientaddr.Proxies{Decided: true}
	for _, network := range networks {
		proxies.Trusted = append(proxies.Trusted, netip.MustParsePrefix(network))
	}
	return proxies
}

// newResolver returns a resolver and its log.
func newResolver(t testing.TB, proxies clientaddr.Proxies) (*clientaddr.Resolver, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	resolver, err := clientaddr.NewResolver(proxies, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	return resolver, log
}

func request(peer string, forwarded ...string) *http.Request {
	r := &http.Request{RemoteAddr: peer, Header: http.Header{}}
	if forwarded != nil {
		r.Header["X-Forwarded-For"] = forwarded
	}
	return r
}

// parse returns the address, or the zero Addr if text is empty.
func parse(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

func TestAddressBelievesTheHeaderOnlyOfTrustedPeers(t *testing.T) {
	t.Parallel()
	const claimed = "198.51.100.1"
	linkLocal := trusting("fe80::/10")
	for _, test := range []struct {
		name      string
		proxies   clientaddr.Proxies
		peer      string
		forwarded []string
		want      string
	}{
		{"untrusted peer", someProxies, "203.0.113.7:1234", nil, "203.0.113.7"},
		{"untrusted peer, header", someProxies, "203.0.113.7:1234", []string{claimed}, "203.0.113.7"},
		{"untrusted peer, header that ends with a trusted address",
			someProxies, "203.0.113.7:1234", []string{claimed + ", 10.0.0.1"}, "203.0.113.7"},
		{"no proxies", noProxies, "10.0.0.1:1234", nil, "10.0.0.1"},
		{"no proxies, header", noProxies, "10.0.0.1:1234", []string{claimed}, "10.0.0.1"},
		{"undecided", undecided, "10.0.0.1:1234", nil, "10.0.0.1"},
		{"undecided, header", undecided, "10.0.0.1:1234", []string{claimed}, ""},
		{"undecided, empty header", undecided, "10.0.0.1:1234", []string{""}, ""},
		{"trusted peer", someProxies, "10.0.0.1:1234", nil, "10.0.0.1"},
		{"trusted peer, header", someProxies, "10.0.0.1:1234", []string{claimed}, claimed},
		{"trusted IPv6 peer", someProxies, "[2001:db8:1::1]:1234", []string{claimed}, claimed},
		{"trusted peer in IPv6 form", someProxies, "[::ffff:10.0.0.1]:1234", []string{claimed}, claimed},
		{"trusted peer with a zone", linkLocal, "[fe80::1%eth0]:1234", []string{claimed}, claimed},
		{"untrusted peer with a zone", someProxies, "[fe80::1%eth0]:1234", nil, "fe80::1"},
		{"no peer", noProxies, "", nil, ""},
		{"peer without a port", noProxies, "203.0.113.7", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			resolver, _ := newResolver(t, test.proxies)
			require.Equal(t, parse(test.want), resolver.Address(request(test.peer, test.forwarded...)))
		})
	}
}

func TestAddressIsTheLastThatIsNoTrustedProxys(t *testing.T) {
	t.Parallel()
	const client = "198.51.100.1"
	for _, test := range []struct {
		name      string
		forwarded []string
		want      string
	}{
		{"client", []string{client}, client},
		{"client that claims another address", []string{"192.0.2.99, " + client}, client},
		{"the same on two lines", []string{"192.0.2.99", client}, client},
		{"client that claims to be a proxy", []string{"10.9.9.9, " + client}, client},
		{"client that sends garbage", []string{"<script>, " + client}, client},
		{"client that sends no address", []string{"," + client}, client},
		{"second proxy", []string{client + ",10.0.0.2"}, client},
		{"second proxy on a second line", []string{client, "10.0.0.2"}, client},
		{"second proxy in IPv6 form", []string{client + ", ::ffff:10.0.0.2"}, client},
		{"second proxy of IPv6", []string{client + ", 2001:db8:1::2"}, client},
		{"proxies alone", []string{"10.0.0.3,10.0.0.2"}, "10.0.0.3"},
		{"empty header", []string{""}, "10.0.0.1"},
		{"spaces and tabs", []string{"192.0.2.99 ,\t " + client + " \t"}, client},

		{"port", []string{client + ":4711"}, client},
		{"IPv6", []string{"2001:db8:2::9"}, "2001:db8:2::9"},
		{"IPv6 with a port", []string{"[2001:db8:2::9]:4711"}, "2001:db8:2::9"},
		{"IPv4 in IPv6 form", []string{"::ffff:" + client}, client},
		{"zone", []string{"fe80::1%eth0"}, "fe80::1"},
		{"zone and port", []string{"[fe80::1%eth0]:80"}, "fe80::1"},

		{"16 addresses", []string{client + strings.Repeat(",10.0.0.2", 14)}, client},
		{"17 addresses", []string{client + strings.Repeat(",10.0.0.2", 15)}, ""},
		{"100,000 proxies", []string{strings.Repeat("10.0.0.2,", 100_000) + "10.0.0.3"}, ""},
		{"100,000 claims", []string{strings.Repeat("10.0.0.2,", 100_000) + client}, client},

		{"word", []string{client + ", unknown"}, ""},
		{"comma at the end", []string{client + ","}, ""},
		{"only a comma", []string{","}, ""},
		{"only a space", []string{" "}, ""},
		{"markup", []string{"<script>"}, ""},
		{"host name", []string{"client.example.com"}, ""},
		{"port alone", []string{":80"}, ""},
		{"port out of range", []string{client + ":65536"}, ""},
		{"network", []string{"198.51.100.0/24"}, ""},
		{"leading zeros", []string{"198.051.100.001"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			resolver, _ := newResolver(t, someProxies)
			require.Equal(t, parse(test.want), resolver.Address(request("10.0.0.1:1234", test.forwarded...)))
		})
	}
}

func TestAddressIgnoresOtherHeaders(t *testing.T) {
	t.Parallel()
	resolver, _ := newResolver(t, someProxies)
	r := request("10.0.0.1:1234")
	for _, header := range []string{"Forwarded", "X-Real-Ip", "True-Client-Ip", "X-Client-Ip"} {
		r.Header.Set(header, "198.51.100.1")
	}
	require.Equal(t, netip.MustParseAddr("10.0.0.1"), resolver.Address(r))
}

func TestResolverWarnsOnceOfAHeaderThatItDoesNotBelieve(t *testing.T) {
	t.Parallel()
	const (
		notSet     = "auth: X-Forwarded-For arrives and Config.Proxies is not set: the addresses"
		notTrusted = "auth: X-Forwarded-For arrives from an address that Config.Proxies does not trust"
	)
	for _, test := range []struct {
		name    string
		proxies clientaddr.Proxies
		request *http.Request
		want    string // empty for no warning
	}{
		{"undecided", undecided, request("203.0.113.7:1234", "198.51.100.1"), notSet},
		{"undecided, without the header", undecided, request("203.0.113.7:1234"), ""},
		{"no proxies", noProxies, request("203.0.113.7:1234", "198.51.100.1"), notTrusted},
		{"no proxies, without the header", noProxies, request("203.0.113.7:1234"), ""},
		{"untrusted peer", someProxies, request("203.0.113.7:1234", "198.51.100.1"), notTrusted},
		{"trusted peer", someProxies, request("10.0.0.1:1234", "198.51.100.1"), ""},
		{"untrusted address in the list", someProxies, request("10.0.0.1:1234", "203.0.113.7"), ""},
		{"no peer", someProxies, request("@", "198.51.100.1"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			resolver, log := newResolver(t, test.proxies)
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() { resolver.Address(test.request) })
			}
			all.Wait()
			if test.want == "" {
				require.Empty(t, log.String())
				return
			}
			require.Equal(t, 1, strings.Count(log.String(), "level=WARN"))
			require.Contains(t, log.String(), test.want)
			require.NotContains(t, log.String(), "198.51.100.1", "no client can write to the log")
			if test.want == notTrusted {
				require.Contains(t, log.String(), "address=203.0.113.7\n")
			}
		})
	}
}

func TestNewResolverRejectsNetworksThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	const everything = "a prefix is invalid or contains every address"
	good := netip.MustParsePrefix("10.0.0.0/8")
	for _, test := range []struct {
		name string
		bad  netip.Prefix
		want string
	}{
		{"all of IPv4", netip.MustParsePrefix("0.0.0.0/0"), everything},
		{"all of IPv6", netip.MustParsePrefix("::/0"), everything},
		{"zero", netip.Prefix{}, everything},
		{"too many bits", netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 33), everything},
		{"IPv4 in IPv6 form", netip.MustParsePrefix("::ffff:192.0.2.0/120"), "not ::ffff:192.0.2.0/120"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, networks := range [][]netip.Prefix{{test.bad}, {good, test.bad}, {test.bad, good}} {
				resolver, err := clientaddr.NewResolver(
					clientaddr.Proxies{Decided: true, Trusted: networks}, slog.New(slog.DiscardHandler))
				require.ErrorContains(t, err, test.want)
				require.Nil(t, resolver)
			}
		})
	}
}

func TestPeerIsTheAddressOfTheConnection(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"203.0.113.7:1234":          "203.0.113.7",
		"[::ffff:203.0.113.7]:1234": "203.0.113.7",
		"[2001:db8::1]:1234":        "2001:db8::1",
		"[fe80::1%eth0]:1234":       "fe80::1",
		"@":                         "",
		"":                          "",
		"pipe":                      "",
		"203.0.113.7":               "",
	} {
		require.Equal(t, parse(want), clientaddr.Peer(request(remote, "198.51.100.1")), remote)
	}
}

func TestNormalizeGivesAnAddressOneForm(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"203.0.113.7":         "203.0.113.7",
		"::ffff:203.0.113.7":  "203.0.113.7",
		"::ffff:1.2.3.4%eth0": "1.2.3.4",
		"fe80::1%eth0":        "fe80::1",
		"2001:db8::1":         "2001:db8::1",
	} {
		require.Equal(t, parse(want), clientaddr.Normalize(parse(address)), address)
	}
	require.Equal(t, netip.Addr{}, clientaddr.Normalize(netip.Addr{}))
}

func TestNetworkIsAnIPv4AddressOrTheFirst64BitsOfIPv6(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"203.0.113.7":                         "203.0.113.7",
		"::ffff:203.0.113.7":                  "203.0.113.7",
		"2001:db8:1:2::1":                     "2001:db8:1:2::",
		"2001:db8:1:2:ffff:ffff:ffff:ffff":    "2001:db8:1:2::",
		"2001:db8:1:3::1":                     "2001:db8:1:3::",
		"fe80::1:2:3:4%eth0":                  "fe80::",
		"2001:db8:1:2:ffff:ffff:ffff:0%wlan0": "2001:db8:1:2::",
	} {
		require.Equal(t, parse(want), clientaddr.Network(parse(address)), address)
	}
	require.Equal(t, netip.Addr{}, clientaddr.Network(netip.Addr{}))
}

// The attack: a client sends X-Forwarded-For so that the service believes in another address.
func FuzzForwardedChain(f *testing.F) {
	f.Add("10.0.0.1:1234", "192.0.2.99, 198.51.100.1,10.0.0.2")
	f.Add("203.0.113.7:1234", "198.51.100.1")
	f.Add("[2001:db8:1::1]:1234", "[2001:db8:2::9]:4711")
	f.Add("[fe80::1%eth0]:1234", "::ffff:198.51.100.1,,unknown")
	resolver, err := clientaddr.NewResolver(someProxies, slog.New(slog.DiscardHandler))
	require.NoError(f, err)
	trusted := func(address netip.Addr) bool {
		return someProxies.Trusted[0].Contains(address) || someProxies.Trusted[1].Contains(address)
	}
	f.Fuzz(func(t *testing.T, peer, forwarded string) {
		address := resolver.Address(request(peer, forwarded))
		require.Equal(t, clientaddr.Normalize(address), address)
		connection := clientaddr.Peer(request(peer))
		switch {
		case !connection.IsValid():
			require.False(t, address.IsValid())
		case !trusted(connection):
			require.Equal(t, connection, address, "the header of an untrusted peer changes nothing")
		case address.IsValid() && !trusted(address):
			// The client can put text before the last address, which a proxy has appended. The
			// result must stay the same.
			require.Equal(t, address, resolver.Address(request(peer, "192.0.2.99,"+forwarded)))
		}
	})
}

// onSocket returns the request as it arrives through a Unix socket.
func onSocket(peer string, forwarded ...string) *http.Request {
	r := request(peer, forwarded...)
	local := &net.UnixAddr{Name: "/run/app.sock", Net: "unix"}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
}

func TestAUnixSocketCountsAsATrustedProxyIfThereAreProxies(t *testing.T) {
	t.Parallel()
	const (
		claimed = "198.51.100.1"
		set     = "set Config.Proxies to TrustProxies"
		send    = "let the proxy send the header"
	)
	tcp := request("")
	tcp = tcp.WithContext(context.WithValue(tcp.Context(), http.LocalAddrContextKey, &net.TCPAddr{Port: 80}))
	tcp.Header.Set("X-Forwarded-For", claimed)
	// A middleware has set RemoteAddr to the text of a header, which the client chose.
	atSign := tcp.Clone(tcp.Context())
	atSign.RemoteAddr = "@"
	for _, test := range []struct {
		name    string
		proxies clientaddr.Proxies
		request *http.Request
		want    string
		warning string
	}{
		{"header", someProxies, onSocket("@", claimed), claimed, ""},
		{"header, other servers", someProxies, request("@", claimed), claimed, ""},
		{"header, a peer without a name", someProxies, onSocket("", claimed), claimed, ""},
		{"header, a peer with a name", someProxies, onSocket("/run/nginx.sock", claimed), claimed, ""},
		{"header of two proxies", someProxies, onSocket("@", claimed+", 10.0.0.1"), claimed, ""},
		{"header with a forged beginning", someProxies, onSocket("@", "1.1.1.1, "+claimed), claimed, ""},
		{"header of another socket", someProxies, onSocket("@", claimed+", unix:"), "", ""},
		{"no header", someProxies, onSocket("@"), "", send},
		{"no proxies", noProxies, onSocket("@", claimed), "", set},
		{"no proxies, no header", noProxies, onSocket("@"), "", set},
		{"undecided", undecided, onSocket("@", claimed), "", "set NoProxies or TrustProxies"},
		{"undecided, no header", undecided, onSocket("@"), "", set},
		// A middleware has set RemoteAddr to a text without a port. This is no Unix socket.
		{"no socket", someProxies, request("203.0.113.7", claimed), "", ""},
		{"no socket, no address", someProxies, tcp, "", ""},
		{"no socket, the peer of one", someProxies, atSign, "", ""},
	} {
		resolver, log := newResolver(t, test.proxies)
		for range 3 {
			require.Equal(t, parse(test.want), resolver.Address(test.request), test.name)
		}
		if test.warning == "" {
			require.Empty(t, log.String(), test.name)
			continue
		}
		require.Equal(t, 1, strings.Count(log.String(), "WARN"), test.name)
		require.Contains(t, log.String(), test.warning, test.name)
	}
}

// Some proxies write an IPv6 address in brackets even without a port.
func TestAddressesOfTheHeaderMayHaveBracketsAndPorts(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"2001:db8::1": "2001:db8::1", "[2001:db8::1]": "2001:db8::1", "[2001:db8::1]:443": "2001:db8::1",
		" [2001:db8::1] , 10.0.0.1": "2001:db8::1", "198.51.100.1:80": "198.51.100.1",
		"[::ffff:198.51.100.1]": "198.51.100.1", "[fe80::1%eth0]": "fe80::1",
		"[198.51.100.1]": "", "[[2001:db8::1]]": "", "[2001:db8::1": "", "2001:db8::1]": "", "[]": "", "[:]": "",
	} {
		resolver, _ := newResolver(t, someProxies)
		require.Equal(t, parse(want), resolver.Address(request("10.0.0.1:1234", header)), header)
	}
}
