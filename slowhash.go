package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// defaultArgon is the second of the equivalent choices of OWASP's Password
// Storage Cheat Sheet.
var defaultArgon = argonHash{memory: 19 * 1024, time: 2, threads: 1}

// slow returns the stored form of a chosen secret.
func (h *hasher) slow(userID, accessKey, secret string) string {
	a := defaultArgon
	a.salt = randomBytes(16)
	return h.slowForm(a.salt, a.sum(boundDigest(h.current().key, userID, accessKey, secret), 32))
}

// slowForm writes a hash made with the default cost and the current pepper.
func (h *hasher) slowForm(salt, hash []byte) string {
	pepper := ""
	if p := h.current(); p.key != nil {
		pepper = ",k=" + p.id
	}
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d%s$%s$%s", formArgonBound, argon2.Version,
		defaultArgon.memory, defaultArgon.time, defaultArgon.threads, pepper, encode(salt), encode(hash))
}

// matchSlow reports whether the secret is the one of the stored form, and
// whether the form ought to be made anew. It computes one slow hash whatever
// stored is.
func (h *hasher) matchSlow(stored, userID, accessKey, secret string) (match, stale bool) {
	s, err := parseHash(stored)
	key, known := h.pepper(s.pepper)
	switch {
	case err != nil || !known:
		defaultArgon.sum([]byte(secret), 32)
		return false, false
	case s.form == formBcrypt:
		cut := []byte(secret[:min(len(secret), maxBcryptSecret)])
		matches := bcrypt.CompareHashAndPassword([]byte(s.bcrypt), cut) == nil
		return matches && len(cut) == len(secret), true
	case s.form == formImportedSHA256:
		// A name with such a hash must not be told by the time from one that nobody has.
		defaultArgon.sum([]byte(secret), 32)
		digest := sha256.Sum256([]byte(secret))
		return subtle.ConstantTimeCompare(digest[:], s.digest) == 1, true
	case s.form == formArgon:
		return s.argon.equal([]byte(secret)), true
	case s.form == formArgonBound:
		return s.argon.equal(boundDigest(key, userID, accessKey, secret)), s.pepper != h.current().id
	default:
		defaultArgon.sum([]byte(secret), 32)
		return false, false
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: it ends the program instead
	return b
}

func (a argonHash) sum(secret []byte, length int) []byte {
	return argon2.IDKey(secret, a.salt, a.time, a.memory, a.threads, uint32(length))
}

func (a argonHash) equal(secret []byte) bool {
	return subtle.ConstantTimeCompare(a.sum(secret, len(a.hash)), a.hash) == 1
}

// slowQueue lets a bounded number of slow hashes run at once, and a bounded
// number wait for their turn, of which one client has no more than a part.
type slowQueue struct {
	running chan struct{} // as many elements as hashes that run

	mu      sync.Mutex
	inside  int                // those who run, and those who wait
	clients map[netip.Addr]int // how many of them are of whom
}

// How many may wait for each one that runs, and for how long. An imported hash
// takes from some 30 ms to the better part of a second.
const (
	waitersPerSlot = 32
	longestWait    = 3 * time.Second
	clientsShare   = 4 // one client has this part of the places: a fourth
)

func newSlowQueue(slots int) *slowQueue {
	return &slowQueue{running: make(chan struct{}, slots), clients: map[netip.Addr]int{}}
}

// enter waits for a turn of the client and returns the function that ends it. Clients without an
// address are one client, or they could take every place. It returns a [ThrottledError] if too many
// wait already or the wait gets too long, and ctx's error if ctx is done.
func (q *slowQueue) enter(ctx context.Context, client netip.Addr) (leave func(), err error) {
	if !q.admit(client) {
		return nil, &ThrottledError{RetryAfter: time.Second}
	}
	timer := time.NewTimer(longestWait)
	defer timer.Stop()
	select {
	case q.running <- struct{}{}:
		return func() { <-q.running; q.leave(client) }, nil
	case <-timer.C:
		err = &ThrottledError{RetryAfter: longestWait}
	case <-ctx.Done():
		err = fmt.Errorf("auth: waiting for a slow hash: %w", ctx.Err())
	}
	q.leave(client)
	return nil, err
}

// admit takes a place, if there is one for the client.
func (q *slowQueue) admit(client netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	places := cap(q.running) * (1 + waitersPerSlot)
	if q.inside == places || q.clients[client] == places/clientsShare {
		return false
	}
	q.inside++
	q.clients[client]++
	return true
}

func (q *slowQueue) leave(client netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inside--
	if q.clients[client]--; q.clients[client] == 0 {
		delete(q.clients, client)
	}
}
