package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// promise is what the program has acknowledged with status 200 and must keep.
type promise struct {
	key, secret string // a registered user
	token       string // a token of the user; empty if no sign-in was acknowledged
}

// TestKilledProgramLosesNothingItAcknowledged kills the program during registrations and sign-ins,
// and starts it again with the same database. Every user whose registration was acknowledged must
// be able to sign in, and every issued token must be valid.
func TestKilledProgramLosesNothingItAcknowledged(t *testing.T) {
	t.Parallel()
	kills := testenv.Rounds(t, testenv.Counts{Small: 3, Moderate: 20, Full: 1000})
	db := newDatabase(t)
	p := start(t, "-db", db, "-addr", newAddress())
	admin := p.login(t, p.key, p.secret)
	total := 0
	for round := range kills {
		promises := trafficUntilKilled(t, p, admin, round)
		total += len(promises)
		p = start(t, "-db", db, "-addr", p.addr())
		require.Empty(t, p.key, "the first user is still there")
		status, _ := p.mustCall(t, http.MethodGet, "/auth/user", admin, nil)
		require.Equal(t, http.StatusOK, status, "kill %d", round)
		for _, kept := range promises {
			p.login(t, kept.key, kept.secret)
			if kept.token != "" {
				status, _ := p.mustCall(t, http.MethodGet, "/auth/user", kept.token, nil)
				require.Equal(t, http.StatusOK, status, "kill %d", round)
			}
		}
	}
	require.Positive(t, total)
	t.Logf("%d kills, %d registrations answered, none lost", kills, total)
}

// trafficUntilKilled lets four clients register users and sign them in, and kills the program while
// they do. It returns what the program has acknowledged.
func trafficUntilKilled(t *testing.T, p *process, admin string, round int) (promises []promise) {
	t.Helper()
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var clients sync.WaitGroup
	moving := make(chan struct{}, 1)
	signal := func() {
		select {
		case moving <- struct{}{}:
		default:
		}
	}
	for c := range 4 {
		clients.Go(func() {
			defer signal()
			for i := 0; ; i++ {
				name := fmt.Sprintf("user-%d-%d-%d", round, c, i)
				status, body, err := p.call(client, http.MethodPost, "/api/v1/user/register", admin,
					map[string]string{"username": name, "email": name + "@example.com"})
				if err != nil {
					return
				}
				if status != http.StatusOK {
					t.Errorf("registration answered %d: %v", status, body)
					return
				}
				made := promise{key: body["access_key"].(string),
					secret: body["access_secret"].(string)}
				status, body, err = p.call(client, http.MethodPost, "/auth/users/login", "",
					credentials(made.key, made.secret))
				if err == nil && status == http.StatusOK {
					made.token = body["token"].(string)
				}
				mu.Lock()
				promises = append(promises, made)
				mu.Unlock()
				signal()
			}
		})
	}
	<-moving // after the first response, kill at any moment
	timer := time.NewTimer(rand.N(50 * time.Millisecond))
	<-timer.C
	p.kill()
	clients.Wait()
	return promises
}
