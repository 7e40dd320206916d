// Package clientaddr finds the address of the client that sends a request, even if the request
// passes reverse proxies. Anyone can send X-Forwarded-For, so a [Resolver] trusts only the part of
// the header that trusted proxies have appended. The package does not read the Forwarded header of
// RFC 7239.
//
// An address says where a request comes from. It authenticates nobody.
package clientaddr

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// maxProxies is the maximum number of addresses of X-Forwarded-For that [Resolver.Address] reads.
// The header can be long, because a client chooses its length.
const maxProxies = 16

// Proxies are the reverse proxies in front of a service.
type Proxies struct {
	Decided bool           // whether the host has set Config.Proxies
	Trusted []netip.Prefix // networks of the proxies; empty if clients connect directly
}

// Resolver finds the client addresses of requests. It is safe for concurrent use.
type Resolver struct {
	proxies Proxies
	log     *slog.Logger
	warn    sync.Once
}

// NewResolver returns a resolver that trusts the given proxies. It returns an error if a network in
// proxies.Trusted is not valid, contains every address, or is an IPv4 network in IPv6 form.
func NewResolver(proxies Proxies, log *slog.Logger) (*Resolver, error) {
	for _, network := range proxies.Trusted {
		switch {
		case !network.IsValid() || network.Bits() == 0:
			return nil, errors.New("a prefix is invalid or contains every address; " +
				"name the networks of the proxies, or any client could claim any address")
		case network.Addr().Is4In6():
			return nil, errors.New("a prefix is an IPv4 network in IPv6 form, which contains no address; " +
				"write 192.0.2.0/24, not ::ffff:192.0.2.0/120")
		}
	}
	return &Resolver{proxies: proxies, log: log}, nil
}

// Address returns the address of the client, or the zero Addr if the address is not known. Each
// proxy appends to X-Forwarded-For the address from which it received the request. Address
// therefore reads the list from its end, and stops at the first address that does not belong to a
// trusted proxy.
//
// A connection through a Unix socket has no address. Only programs on the same machine can open the
// socket, and the host decides which programs may. So if the host has named proxies, the program at the
// other end of the socket counts as a trusted proxy.
func (c *Resolver) Address(r *http.Request) netip.Addr {
	if !c.proxies.Decided && len(r.Header["X-Forwarded-For"]) > 0 {
		c.warnOnce(r, "auth: X-Forwarded-For arrives and Config.Proxies is not set: "+
			"the addresses of such clients are unknown, and they are throttled together; "+
			"set NoProxies or TrustProxies")
		return netip.Addr{}
	}
	address := Peer(r)
	throughSocket := !address.IsValid() && isUnixSocket(r)
	if !address.IsValid() && !throughSocket {
		return netip.Addr{}
	}
	forwarded := strings.Join(r.Header["X-Forwarded-For"], ",")
	switch {
	case throughSocket && len(c.proxies.Trusted) == 0:
		c.warnOnce(r, "auth: requests arrive through a Unix socket, which shows no client address: "+
			"all clients are throttled together; set Config.Proxies to TrustProxies, and let the proxy "+
			"send X-Forwarded-For")
		return netip.Addr{}
	case throughSocket && forwarded == "":
		c.warnOnce(r, "auth: a request arrives through a Unix socket without X-Forwarded-For: the "+
			"addresses of such clients are unknown, and they are throttled together; let the proxy send "+
			"the header")
		return netip.Addr{}
	case !throughSocket && forwarded != "" && !c.trusts(address):
		c.warnOnce(r, "auth: X-Forwarded-For arrives from an address that Config.Proxies does not "+
			"trust, and is ignored: if a proxy has this address, all its clients count as one",
			"address", address)
	}
	for range maxProxies {
		if forwarded == "" || !throughSocket && !c.trusts(address) {
			return address
		}
		throughSocket = false // from here on, address is one that the header names
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

func (c *Resolver) warnOnce(r *http.Request, message string, args ...any) {
	c.warn.Do(func() { c.log.WarnContext(r.Context(), message, args...) })
}

func (c *Resolver) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(c.proxies.Trusted, func(network netip.Prefix) bool {
		return network.Contains(address)
	})
}

// isUnixSocket reports whether the request came through a Unix socket. The listener's address shows
// that. RemoteAddr does not: a middleware of the host, or a router, may have set it to the text of a
// header. RemoteAddr only counts if the server does not tell the listener's address.
func isUnixSocket(r *http.Request) bool {
	local := r.Context().Value(http.LocalAddrContextKey)
	if local == nil {
		return r.RemoteAddr == "@"
	}
	_, ok := local.(*net.UnixAddr)
	return ok
}

// Peer returns the address of the request's connection, or the zero Addr if the connection has no
// address. For example, a connection through a Unix socket has none.
func Peer(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	return Normalize(peer.Addr())
}

// parseForwarded parses an address with or without a port, because proxies write both forms. An IPv6
// address without a port may have brackets.
func parseForwarded(text string) (netip.Addr, error) {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok && strings.Contains(inner, ":") {
			text = inner
		}
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		var withPort netip.AddrPort
		withPort, err = netip.ParseAddrPort(text)
		address = withPort.Addr()
	}
	return Normalize(address), err
}

// Normalize returns the form in which addresses are compared, counted and kept. It converts an IPv4
// address in IPv6 form to IPv4. It removes the zone, which names an interface of this machine.
func Normalize(address netip.Addr) netip.Addr { return address.Unmap().WithZone("") }

// Network returns the address under which a client is counted. For IPv4, this is the address
// itself. For IPv6, it is the network of the first 64 bits, because one customer has a whole
// network of this size.
func Network(address netip.Addr) netip.Addr {
	address = Normalize(address)
	if !address.Is6() {
		return address
	}
	network, _ := address.Prefix(64) // fails only for an address of fewer than 64 bits
	return network.Addr()
}
