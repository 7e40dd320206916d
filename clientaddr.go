package auth

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Proxies says which reverse proxies stand in front of a service, and so whose
// X-Forwarded-For is believed. Make one with [NoProxies] or [TrustProxies].
//
// The zero value means that the host has not decided. A request that carries X-Forwarded-For
// then has no known client address, because the peer may be a proxy shared by all clients,
// and the log warns once. Such clients share one budget: see [Throttling].
type Proxies struct {
	decided  bool
	none     bool // by NoProxies
	networks []netip.Prefix
}

// NoProxies says that clients connect to the service themselves: the client address is that of
// the connection, and X-Forwarded-For is not believed.
func NoProxies() Proxies { return Proxies{decided: true, none: true} }

// TrustProxies says that X-Forwarded-For is believed if it comes from one of the networks.
// The client address is the last one in it that is in none of them. [New] returns an error if there
// is no prefix, or one that is invalid or contains every address.
func TrustProxies(prefixes ...netip.Prefix) Proxies {
	return Proxies{decided: true, networks: slices.Clone(prefixes)}
}

func (p Proxies) check() error {
	if p.decided && !p.none && len(p.networks) == 0 {
		return errors.New("auth: Config.Proxies: TrustProxies has no networks: name those of the proxies, or set NoProxies")
	}
	for _, prefix := range p.networks {
		switch {
		case !prefix.IsValid() || prefix.Bits() == 0:
			return errors.New("auth: Config.Proxies: a prefix is invalid or contains every address; " +
				"name the networks of the proxies, or any client could claim any address")
		case prefix.Addr().Is4In6():
			return errors.New("auth: Config.Proxies: a prefix is an IPv4 network in IPv6 form, which contains no address; " +
				"write 192.0.2.0/24, not ::ffff:192.0.2.0/120")
		}
	}
	return nil
}

func (p Proxies) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(p.networks, func(network netip.Prefix) bool { return network.Contains(address) })
}

// clientResolver finds the client address of a request. Each Service has one of its own, which
// also identifies the Service in a request's context.
type clientResolver struct {
	proxies Proxies
	log     *slog.Logger
	warn    sync.Once
}

const maxProxies = 16 // that a request may pass through and still be believed

func newClientResolver(proxies Proxies, log *slog.Logger) (*clientResolver, error) {
	if err := proxies.check(); err != nil {
		return nil, err
	}
	return &clientResolver{proxies: proxies, log: log}, nil
}

// address returns the address of the client, or the zero Addr if it is not known. Each proxy
// appends the address of its own peer to X-Forwarded-For, so the list is read from its end
// for as long as a trusted proxy has written.
func (c *clientResolver) address(r *http.Request) netip.Addr {
	if !c.proxies.decided && len(r.Header["X-Forwarded-For"]) > 0 {
		c.warn.Do(func() {
			c.log.WarnContext(r.Context(), "auth: X-Forwarded-For arrives and Config.Proxies is not set: the addresses of such "+
				"clients are unknown, and they are throttled together; set NoProxies or TrustProxies")
		})
		return netip.Addr{}
	}
	address := peerAddress(r)
	if !address.IsValid() {
		return netip.Addr{}
	}
	forwarded := strings.Join(r.Header["X-Forwarded-For"], ",")
	if forwarded != "" && !c.proxies.trusts(address) {
		c.warn.Do(func() {
			c.log.WarnContext(r.Context(), "auth: X-Forwarded-For arrives from an address that Config.Proxies does not trust, and is "+
				"ignored: if a proxy has this address, all its clients count as one", "address", address)
		})
	}
	for range maxProxies {
		if forwarded == "" || !c.proxies.trusts(address) {
			return address
		}
		last := forwarded
		if i := strings.LastIndexByte(forwarded, ','); i >= 0 {
			forwarded, last = forwarded[:i], forwarded[i+1:]
		} else {
			forwarded = ""
		}
		var err error
		if address, err = parseForwarded(strings.TrimSpace(last)); err != nil {
			return netip.Addr{}
		}
	}
	return netip.Addr{}
}

// peerAddress returns the address of the request's connection, or the zero Addr if it has none.
func peerAddress(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // a Unix socket has no address
	return peer.Addr().Unmap().WithZone("")
}

// parseForwarded reads an address with or without a port, since proxies write both.
func parseForwarded(text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		var withPort netip.AddrPort
		withPort, err = netip.ParseAddrPort(text)
		address = withPort.Addr()
	}
	return address.Unmap().WithZone(""), err
}
