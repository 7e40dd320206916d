package wiretest

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/feedpage"
	"github.com/stretchr/testify/require"
)

// answered is an answer to a request for a page.
type answered struct {
	status int
	text   string // the page
}

// real returns the answer of the issuer to the request.
func (f *following) real(r *http.Request) answered {
	w := httptest.NewRecorder()
	f.svc.Handler(auth.GroupVerifiers).ServeHTTP(w, r)
	if w.Code == http.StatusNotModified {
		return answered{w.Code, w.Header().Get(feedpage.Header)}
	}
	return answered{w.Code, w.Body.String()}
}

func (a answered) write(w http.ResponseWriter) {
	if a.status == http.StatusNotModified {
		w.Header().Set(feedpage.Header, a.text)
		w.WriteHeader(a.status)
		return
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.text)
}

const pageHeader = `{"alg":"EdDSA","kid":"ed","typ":"revocations+jwt"}`

// edited returns the page with other claims, signed with the key of the issuer. So it shows whether the
// verifier checks the claims, which no attacker without the key can choose.
func (f *following) edited(text string, edit func(claims map[string]any)) string {
	claims := payload(f.t, text)
	edit(claims)
	changed, err := json.Marshal(claims)
	require.NoError(f.t, err)
	return f.signer.Forge(f.t, pageHeader, string(changed))
}

func number(n int64) json.Number { return json.Number(jsonText(n)) }

func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func intOf(claims map[string]any, name string) int64 {
	n, err := claims[name].(json.Number).Int64()
	if err != nil {
		panic(err)
	}
	return n
}

// badPages returns functions that each replace a good answer by one that a verifier must not use.
func badPages(t *testing.T, f *following) map[string]func(r *http.Request, good answered) answered {
	page := func(change func(text string) string) func(*http.Request, answered) answered {
		return func(_ *http.Request, good answered) answered {
			return answered{http.StatusOK, change(good.text)}
		}
	}
	edit := func(change func(claims map[string]any)) func(*http.Request, answered) answered {
		return page(func(text string) string { return f.edited(text, change) })
	}
	fixed := func(status int, text string) func(*http.Request, answered) answered {
		return func(*http.Request, answered) answered { return answered{status, text} }
	}
	claimsOf := func(text string) string { return jsonText(payload(t, text)) }
	other := authtest.NewSigners(t)["EdDSA"]
	public := f.signer.Secret.(ed25519.PrivateKey).Public().(ed25519.PublicKey)
	confused := authtest.Signer{Method: jwt.SigningMethodHS256, Secret: []byte(public)}
	token := f.signIn(f.user)
	old := answered{}
	var first atomic.Pointer[answered]
	entries := func(change func(list []any) []any) func(*http.Request, answered) answered {
		return edit(func(c map[string]any) { c["entries"] = change(c["entries"].([]any)) })
	}
	entry := func(name string, value any) func(*http.Request, answered) answered {
		return entries(func(list []any) []any {
			list[len(list)-1].(map[string]any)[name] = value
			return list
		})
	}
	return map[string]func(r *http.Request, good answered) answered{
		"cut off":            page(func(s string) string { return s[:len(s)/2] }),
		"cut off at the end": page(func(s string) string { return s[:len(s)-1] }),
		"no signature":       page(func(s string) string { return s[:strings.LastIndexByte(s, '.')+1] }),
		"empty":              fixed(http.StatusOK, ""),
		"empty 304":          fixed(http.StatusNotModified, ""),
		"not a page":         fixed(http.StatusOK, "<html>"),
		"an unsigned 304":    fixed(http.StatusNotModified, authtest.Segment(`{"alg":"none","typ":"revocations+jwt"}`)+"."+authtest.Segment(`{}`)+"."),
		"alg none": page(func(s string) string {
			return authtest.Segment(`{"alg":"none","kid":"ed","typ":"revocations+jwt"}`) + s[strings.IndexByte(s, '.'):]
		}),
		"another key":    page(func(s string) string { return other.Forge(t, pageHeader, claimsOf(s)) }),
		"an unknown key": page(func(s string) string { return other.Forge(t, strings.Replace(pageHeader, "ed", "xx", 1), claimsOf(s)) }),
		"the public key as secret": page(func(s string) string {
			return confused.Forge(t, strings.Replace(pageHeader, "EdDSA", "HS256", 1), claimsOf(s))
		}),
		"the typ of a token": page(func(s string) string {
			return f.signer.Forge(t, strings.Replace(pageHeader, "revocations+jwt", "JWT", 1), claimsOf(s))
		}),
		"the typ of a limited token": page(func(s string) string {
			return f.signer.Forge(t, strings.Replace(pageHeader, "revocations+jwt", "at+jwt", 1), claimsOf(s))
		}),
		"no typ": page(func(s string) string { return f.signer.Forge(t, `{"alg":"EdDSA","kid":"ed"}`, claimsOf(s)) }),
		"crit": page(func(s string) string {
			return f.signer.Forge(t, strings.Replace(pageHeader, "{", `{"crit":["x"],`, 1), claimsOf(s))
		}),
		"a token":          fixed(http.StatusOK, token),
		"a token in a 304": fixed(http.StatusNotModified, token),
		"other claims": page(func(s string) string {
			parts := strings.Split(s, ".")
			return parts[0] + "." + authtest.Segment(`{"iss":"`+issuer+`"}`) + "." + parts[2]
		}),
		"another signature spelling": page(func(s string) string { return s + "=" }),
		"a line break":               page(func(s string) string { return s + "\n" }),
		"an old page": func(r *http.Request, good answered) answered {
			if first.CompareAndSwap(nil, &good) {
				old = good
				return answered{http.StatusServiceUnavailable, ""}
			}
			return old
		},
		"another nonce":    edit(func(c map[string]any) { c["nonce"] = strings.Repeat("A", 26) }),
		"no nonce":         edit(func(c map[string]any) { delete(c, "nonce") }),
		"another issuer":   edit(func(c map[string]any) { c["iss"] = "https://other.example.com" }),
		"another position": edit(func(c map[string]any) { c["from"] = number(intOf(c, "from") + 1) }),
		"from the future": edit(func(c map[string]any) {
			c["as_of"] = number(intOf(c, "as_of") + 200_000)
			c["signed_at"] = number(intOf(c, "signed_at") + 200_000)
		}),
		"read after it was signed": edit(func(c map[string]any) { c["as_of"] = number(intOf(c, "signed_at") + 1) }),
		"no as_of":                 edit(func(c map[string]any) { delete(c, "as_of") }),
		"no signed_at":             edit(func(c map[string]any) { delete(c, "signed_at") }),
		"a time as text":           edit(func(c map[string]any) { c["as_of"] = "0" }),
		"the last entry missing":   entries(func(list []any) []any { return list[:len(list)-1] }),
		"no entries":               entries(func([]any) []any { return []any{} }),
		"entries null":             edit(func(c map[string]any) { c["entries"] = nil }),
		"reversed": entries(func(list []any) []any {
			list[0], list[len(list)-1] = list[len(list)-1], list[0]
			return list
		}),
		"repeated":              entries(func(list []any) []any { return append(list, list[len(list)-1]) }),
		"a hole":                entries(func(list []any) []any { return append(list[:1], list[2:]...) }),
		"an end after the head": edit(func(c map[string]any) { c["head"] = number(intOf(c, "head") - 1) }),
		"an end after the last entry": edit(func(c map[string]any) {
			c["end"], c["head"] = number(intOf(c, "end")+1), number(intOf(c, "head")+1)
		}),
		"more to come, but no more": edit(func(c map[string]any) {
			list := c["entries"].([]any)
			c["entries"] = list[:1]
			c["end"] = list[0].(map[string]any)["position"]
		}),
		"a negative position":      edit(func(c map[string]any) { c["head"] = number(-1) }),
		"a fraction":               edit(func(c map[string]any) { c["head"] = json.Number("3.5") }),
		"a session without a user": entries(func(list []any) []any { delete(list[len(list)-1].(map[string]any), "user"); return list }),
		"a raw session ID":         entry("session", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
		"an empty user":            entry("user", ""),
		"an entry without an ID":   entry("id", ""),
		"an entry at 0":            entry("position", number(0)),
		"an entry that is a text":  entries(func(list []any) []any { list[0] = "x"; return list }),
		"a generation as text":     entry("generation", "1"),
		"a negative expiry":        entry("expires_at", number(-1)),
		"a member twice": page(func(s string) string {
			return f.signer.Forge(t, pageHeader, strings.Replace(claimsOf(s), "{", `{"head":0,`, 1))
		}),
		"a member in other letters": page(func(s string) string {
			return f.signer.Forge(t, pageHeader, strings.Replace(claimsOf(s), "{", `{"HEAD":0,`, 1))
		}),
		"an error":                  fixed(http.StatusInternalServerError, ""),
		"no such call":              fixed(http.StatusNotFound, ""),
		"no access":                 fixed(http.StatusForbidden, ""),
		"nothing":                   fixed(http.StatusNoContent, ""),
		"a part":                    func(_ *http.Request, good answered) answered { return answered{http.StatusPartialContent, good.text} },
		"a page in an error":        func(_ *http.Request, good answered) answered { return answered{http.StatusBadGateway, good.text} },
		"the body in a 304":         func(_ *http.Request, good answered) answered { return answered{http.StatusNotModified, good.text[:40]} },
		"the access token rejected": fixed(http.StatusUnauthorized, ""),
	}
}

// Attack: somebody between the verifier and the issuer, or a broken issuer, answers in place of the issuer.
// The verifier never accepts a token that it has rejected, and never rejects another token for it. It goes
// on with what it knows, and accepts no token when that is too old.
func TestAFollowingVerifierUsesNoBadPage(t *testing.T) {
	t.Parallel()
	names := badPages(t, newFollowing(t))
	for name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFollowing(t)
			bad := badPages(t, f)[name]
			f.signOut(f.admin)
			known := f.signOut(f.user)
			token, revoked := f.issue(f.user), f.issue(f.user)
			f.require(accepted, token)
			f.require(rejected, known)
			for range 3 {
				f.signOut(f.admin)
			}
			require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), revoked.Bearer.Reveal()))
			f.answers(func(w http.ResponseWriter, r *http.Request) { bad(r, f.real(r)).write(w) })
			for range 11 {
				f.clock.Advance(interval)
				f.require(accepted, token)
				f.require(rejected, known)
				f.require(accepted, revoked, "the bad page was used")
			}
			require.Contains(t, f.seen.String(), "the revocation feed cannot be read")
			require.NotContains(t, f.seen.String(), "can be read again")
			f.clock.Advance(interval)
			for _, token := range []auth.Token{token, known, revoked} {
				f.require(unknown, token)
			}
			require.LessOrEqual(t, f.signed.Load(), int64(8), "sign-ins of the verifier")
			f.answers(nil)
			f.clock.Advance(time.Minute)
			f.require(accepted, token)
			f.require(rejected, known)
			f.require(rejected, revoked)
		})
	}
}

// A page is signed with the key of the tokens. It must not be accepted as a token, anywhere.
func TestAPageIsNoToken(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.signOut(f.user)
	r, _ := f.askForPage(f.signIn(f.admin), 0)
	require.Equal(t, http.StatusUnauthorized, f.sendAs(r.body, http.MethodGet, "/auth/user", "").status)
	_, err := f.verifier.Verify(t.Context(), r.body)
	require.ErrorIs(t, err, auth.ErrTokenRejected)
}

// Attack: the answer is endless, or becomes endless when it is decompressed.
func TestAFollowingVerifierReadsNoEndlessPage(t *testing.T) {
	t.Parallel()
	// The verifier waits one second at most, so nothing is compressed while it waits.
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := z.Write(make([]byte, 32<<20))
	require.NoError(t, err)
	require.NoError(t, z.Flush())
	for name, endless := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for block := bytes.Repeat([]byte("A"), 1<<16); r.Context().Err() == nil; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		},
		"compressed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
			<-r.Context().Done()
		},
		"a long header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(feedpage.Header, strings.Repeat("A", 900_000))
			w.WriteHeader(http.StatusNotModified)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFollowing(t)
			token := f.issue(f.user)
			f.require(accepted, token)
			f.answers(endless)
			f.clock.Advance(interval)
			f.require(accepted, token)
			require.Contains(t, f.seen.String(), "the revocation feed cannot be read")
			if name != "a long header" {
				require.Contains(t, f.seen.String(), "the page is longer than 2097152 bytes")
			}
		})
	}
}

// Attack: the issuer's server sends the verifier to another host, which must not get the access token.
func TestTheAccessTokenIsSentToNoOtherHost(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		f := newFollowing(t)
		var met atomic.Int64
		thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { met.Add(1) }))
		t.Cleanup(thief.Close)
		token := f.issue(f.user)
		f.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", thief.URL)
			w.WriteHeader(status)
		})
		f.require(unknown, token)
		require.Zero(t, met.Load(), status)
		require.Contains(t, f.seen.String(), "the issuer answers with status")
	}
}

// Two instances of the issuer answer in turn, and one of them cannot read the store. Its pages are older,
// but nothing flaps: tokens stay accepted, and rejected tokens stay rejected.
func TestTwoInstancesBehindOneURLMayDifferInAge(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	var lagging *auth.Service
	f := newFollowing(t, func(f *fixture, cfg *auth.Config) {
		cfg.SigningKeys = []auth.SigningKey{f.signer.Key}
		other := *cfg
		var err error
		other.Logger = slog.New(slog.DiscardHandler)
		lagging, err = auth.New(authtest.FaultyStore(f.store, func(method string) error {
			if down.Load() && method == "ListRevocations" {
				return io.ErrUnexpectedEOF
			}
			return nil
		}), other)
		require.NoError(t, err)
	})
	var turn atomic.Int64
	f.answers(func(w http.ResponseWriter, r *http.Request) {
		svc := f.svc
		if turn.Add(1)%2 == 0 {
			svc = lagging
		}
		svc.Handler(auth.GroupVerifiers).ServeHTTP(w, r)
	})
	token := f.issue(f.user)
	for range 4 {
		f.clock.Advance(interval)
		f.require(accepted, token)
	}
	down.Store(true)
	var known []auth.Token
	for i := range 60 {
		if i%5 == 0 {
			known = append(known, f.signOut(f.user))
		}
		f.clock.Advance(2*interval + time.Second)
		f.require(accepted, token, i)
		f.clock.Advance(time.Second)
		f.require(accepted, token, i)
		age, accepts := f.verifier.FeedAge()
		require.True(t, accepts)
		require.Less(t, age, 30*time.Second)
		for _, token := range known[:len(known)-1] {
			f.require(rejected, token, i)
		}
	}
}
