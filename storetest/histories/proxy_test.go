package histories_test

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy passes TCP connections on to a server, and can cut them.
type proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	conns map[*cable]struct{}
}

// cable is a connection through the proxy.
type cable struct{ client, server net.Conn }

func (c *cable) cut() {
	_ = c.client.Close()
	_ = c.server.Close()
}

func newProxy(t *testing.T, server string) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, server: server, conns: map[*cable]struct{}{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.pass(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.cutSome(1)
		all.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) pass(client net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		_ = client.Close()
		return
	}
	c := &cable{client, server}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			c.cut()
		})
	}
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// cut cuts about a quarter of the connections.
func (p *proxy) cut() { p.cutSome(4) }

// cutSome cuts one of n connections, chosen at random.
func (p *proxy) cutSome(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if rand.IntN(n) == 0 {
			c.cut()
		}
	}
}
