package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// ClientInfo is who sends a request, as far as can be seen: for people to recognise a
// session by. It proves nothing.
type ClientInfo struct {
	Address   netip.Addr // the zero Addr where it is not known
	UserAgent string
	RequestID string // of X-Request-Id, for finding the request in other logs
}

// WithClientInfo returns a context in which sessions are opened for this client, attempts
// are counted as its own, and events have it in them. UserAgent and RequestID are cut
// to MaxUserAgentLength bytes of readable text. The handlers of [Service] do it
// themselves, unless a host has done it before; it is for hosts that know better, or
// that call [Service.Login] and the like from code of their own.
func WithClientInfo(ctx context.Context, client ClientInfo) context.Context {
	return context.WithValue(ctx, clientKey{}, client.readable())
}

// readable returns the client as it is kept and logged.
func (c ClientInfo) readable() ClientInfo {
	return ClientInfo{
		Address:   c.Address.Unmap().WithZone(""), // a zone is the name of an interface of this machine
		UserAgent: readable(c.UserAgent, MaxUserAgentLength),
		RequestID: readable(c.RequestID, MaxUserAgentLength),
	}
}

type clientKey struct{}

// clientOf returns the client of the context, the zero ClientInfo where there is none.
func clientOf(ctx context.Context) ClientInfo {
	client, _ := ctx.Value(clientKey{}).(ClientInfo)
	return client
}

// address returns the address as it is kept.
func (c ClientInfo) address() string {
	if !c.Address.IsValid() {
		return ""
	}
	return c.Address.String()
}

// readable returns text from outside as people may be shown it: what is no UTF-8 or
// controls text is left out, and the rest cut to limit bytes.
func readable(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || controlsText(r) {
			return -1
		}
		return r
	}, text[:min(len(text), 4*limit)])
	for len(text) > limit {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

// clientInfo returns who sends the request. The address is that of the connection or,
// where that comes from one of [Config.TrustedProxies], the last one in
// X-Forwarded-For that does not. It is not known of a request with that header while
// TrustedProxies is nil. What [WithClientInfo] has put into the request's context comes
// before all of this.
func (s *Service) clientInfo(r *http.Request) ClientInfo {
	if client, ok := r.Context().Value(clientKey{}).(ClientInfo); ok {
		return client
	}
	return ClientInfo{Address: s.proxies.client(r), UserAgent: r.UserAgent(), RequestID: r.Header.Get("X-Request-Id")}
}

// trustedProxies are the networks of proxies that say for whom they ask.
type trustedProxies struct {
	networks []netip.Prefix
	known    bool // whether the host has said which there are
	log      *slog.Logger
	warn     sync.Once
}

const maxProxies = 16 // that a request passes, and is still believed

func newTrustedProxies(prefixes []netip.Prefix, log *slog.Logger) (*trustedProxies, error) {
	for _, prefix := range prefixes {
		switch {
		case !prefix.IsValid() || prefix.Bits() == 0:
			return nil, errors.New("auth: TrustedProxies must be networks, and not all addresses: anybody could then claim any address")
		case prefix.Addr().Is4In6():
			return nil, errors.New("auth: TrustedProxies must be networks such as 192.0.2.0/24, and not ::ffff:192.0.2.0/120, which no address is in")
		}
	}
	return &trustedProxies{networks: slices.Clone(prefixes), known: prefixes != nil, log: log}, nil
}

func (p *trustedProxies) has(address netip.Addr) bool {
	return slices.ContainsFunc(p.networks, func(network netip.Prefix) bool { return network.Contains(address) })
}

// client returns the address of the client. Each proxy appends who has asked it, so
// that the list is read from its end for as long as it was a trusted one who wrote.
func (p *trustedProxies) client(r *http.Request) netip.Addr {
	if !p.known && len(r.Header["X-Forwarded-For"]) > 0 {
		p.warn.Do(func() {
			p.log.WarnContext(r.Context(), "auth: X-Forwarded-For comes in, and Config.TrustedProxies is nil: "+
				"such clients' addresses are not known, and of what they try, attempts on imported keys alone are counted")
		})
		return netip.Addr{}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := peer.Addr().Unmap().WithZone("")
	forwarded := strings.Join(r.Header["X-Forwarded-For"], ",")
	if forwarded != "" && !p.has(address) {
		p.warn.Do(func() {
			p.log.WarnContext(r.Context(), "auth: X-Forwarded-For comes in from an address that is not in Config.TrustedProxies, and is not "+
				"believed: if a proxy stands there, all its clients count as one", "address", address)
		})
	}
	for range maxProxies {
		if forwarded == "" || !p.has(address) {
			return address
		}
		last := forwarded
		if i := strings.LastIndexByte(forwarded, ','); i >= 0 {
			forwarded, last = forwarded[:i], forwarded[i+1:]
		} else {
			forwarded = ""
		}
		if address, err = parseForwarded(strings.TrimSpace(last)); err != nil {
			return netip.Addr{}
		}
	}
	return netip.Addr{}
}

// parseForwarded reads an address with or without a port, as proxies write both.
func parseForwarded(text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		var withPort netip.AddrPort
		withPort, err = netip.ParseAddrPort(text)
		address = withPort.Addr()
	}
	return address.Unmap().WithZone(""), err
}
