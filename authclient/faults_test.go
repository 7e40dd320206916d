package authclient_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/authclient"
)

// unsteady is a service, without a network, that is slow, revokes all sessions every twenty minutes, and
// refuses sign-ins for the first ten seconds of each revocation. Each token is valid for an hour.
type unsteady struct {
	began   time.Time
	signIns atomic.Int32
	refused atomic.Int32 // sign-ins
	wrong   atomic.Int32 // requests with a token that was rejected
}

const (
	revokeEvery = 20 * time.Minute
	refuseFor   = 10 * time.Second
	faultsFor   = 8 * time.Hour
	slowness    = 3 * time.Second // at most, before and after each decision of the service
)

// epoch returns the number of revocations so far, and the time since the last one.
func (u *unsteady) epoch() (count int, since time.Duration) {
	age := time.Since(u.began)
	return int(age / revokeEvery), age % revokeEvery
}

func (u *unsteady) answer(r *http.Request) *http.Response {
	time.Sleep(rand.N(slowness))
	epoch, since := u.epoch()
	defer time.Sleep(rand.N(slowness))
	switch {
	case !strings.HasSuffix(r.URL.Path, "/login"):
		if r.Header.Get("Authorization") != fmt.Sprint("Bearer token-", epoch) {
			u.wrong.Add(1)
			return rejection()
		}
		return reply(200, map[string]string{"user_id": "1"})
	case since < refuseFor:
		u.refused.Add(1)
		return reply(429, map[string]string{"detail": "Too many attempts"}, "Retry-After", "5")
	}
	u.signIns.Add(1)
	return issue(fmt.Sprint("token-", epoch), time.Hour)
}

// The attack: for eight hours, the clock of the program is an hour off, the service is slow, sessions are
// revoked while requests are under way, and sign-ins are throttled just then.
func TestNoRequestIsLostWhileEverythingFails(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			service := &unsteady{began: time.Now()}
			client, err := authclient.NewWithConfig("https://api.example.com",
				authclient.FromPair("ak", "hidden"),
				authclient.Config{Transport: transport(service.answer),
					Now: func() time.Time { return time.Now().Add(off) }})
			require.NoError(t, err)
			var requests, lost atomic.Int32
			var group sync.WaitGroup
			for range callers {
				group.Go(func() {
					for time.Since(service.began) < faultsFor {
						ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
						if _, err := client.CurrentUser(ctx); err != nil {
							lost.Add(1)
						}
						cancel()
						requests.Add(1)
						time.Sleep(rand.N(2 * time.Minute))
					}
				})
			}
			group.Wait()
			t.Logf("clock %v off: %d requests, %d lost, %d sign-ins, %d refused, %d tokens rejected",
				off, requests.Load(), lost.Load(), service.signIns.Load(), service.refused.Load(),
				service.wrong.Load())
			require.Zero(t, lost.Load())
			revocations := int32(faultsFor / revokeEvery)
			require.LessOrEqual(t, service.signIns.Load(), 2*revocations, "about one for each revocation")
			require.LessOrEqual(t, service.refused.Load(), 3*revocations, "the client heeds Retry-After")
		})
	}
}

// A program that signs in, keeps its token fresh, calls a route and repeats the call after a revocation has
// at most ten lines for all of this.
func TestTheWholeClientOfAProgramHasTenLines(t *testing.T) {
	t.Parallel()
	files := gotoken.NewFileSet()
	file, err := parser.ParseFile(files, "example_test.go", nil, 0)
	require.NoError(t, err)
	for _, declaration := range file.Decls {
		example, ok := declaration.(*ast.FuncDecl)
		if !ok || example.Name.Name != "Example" {
			continue
		}
		program := example.Body.List[2:] // the first statements start and stop the service
		first, last := files.Position(program[0].Pos()), files.Position(program[len(program)-1].End())
		require.LessOrEqual(t, last.Line-first.Line+1, 10)
		return
	}
	t.Fatal("there is no Example")
}
