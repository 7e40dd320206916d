package feedpage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/feedpage"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// issuing is an issuer that signs the pages which the function page returns, and a follower of it.
type issuing struct {
	*feedpage.Follower
	clock *authtest.Clock
	page  func(from int64) feedpage.Page // without issuer, nonce, from and times
	asked []int64

	change func(i *issuing, page *feedpage.Page) // changes the finished page before it is signed, if set
	token  oauth2.Token

	refuses func(token string) bool // the issuer rejects the access token, if set
	nonces  []string
}

func (i *issuing) Token() (*oauth2.Token, error) { return &i.token, nil }

func newIssuing(t *testing.T, edits ...func(*issuing, *feedpage.FollowerConfig)) *issuing {
	t.Helper()
	key, ring := newKey(t)
	i := &issuing{clock: authtest.NewClock(), token: oauth2.Token{AccessToken: "access"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := strconv.ParseInt(r.URL.Query().Get("from"), 10, 64)
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer access")
		if err != nil || !ok {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		i.nonces = append(i.nonces, r.URL.Query().Get("nonce"))
		if i.refuses != nil && i.refuses(token) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		i.asked = append(i.asked, from)
		page := i.page(from)
		page.Issuer, page.Nonce, page.From = issuer, r.URL.Query().Get("nonce"), from
		if page.AsOf.IsZero() {
			page.SignedAt, page.AsOf = i.clock.Now(), i.clock.Now()
		}
		if i.change != nil {
			i.change(i, &page)
		}
		text, err := page.Sign(r.Context(), key)
		if err != nil {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Write([]byte(text))
	}))
	t.Cleanup(server.Close)
	target, err := url.Parse(server.URL + "/auth/revocations")
	require.NoError(t, err)
	keys := func(context.Context) (*signing.Ring, error) { return ring, nil }
	cfg := feedpage.FollowerConfig{
		URL: target, Issuer: issuer, Client: signing.StrictClient(server.Client()), Tokens: i, Now: i.clock.Now,
		Keys: keys, NewerKeys: func(ctx context.Context, _ *signing.Ring) (*signing.Ring, error) { return keys(ctx) },
	}
	for _, edit := range edits {
		edit(i, &cfg)
	}
	i.Follower = feedpage.NewFollower(cfg)
	return i
}

// entries returns the entries of the history from the first Position to the last one.
func entries(history string, first, last int64) (list []revocation.Entry) {
	for position := first; position <= last; position++ {
		list = append(list, revocation.Entry{Position: position, ID: fmt.Sprint(history, position)})
	}
	return list
}

// An issuer may send fewer entries than it could.
func TestShortPagesAreReadToTheEnd(t *testing.T) {
	t.Parallel()
	i := newIssuing(t)
	i.page = func(from int64) feedpage.Page {
		first := max(from, 1)
		last := min(first+3, 11)
		return feedpage.Page{Entries: entries("", first, last), End: last, Head: 11}
	}
	list, err := i.Read(t.Context(), 0, 100)
	require.NoError(t, err)
	require.Equal(t, entries("", 1, 11), list)
	require.Equal(t, []int64{0, 4, 7, 10}, i.asked)
	list, err = i.Read(t.Context(), 2, 6)
	require.NoError(t, err)
	require.Equal(t, entries("", 2, 7), list, "the limit")
	list, err = i.Read(t.Context(), 11, 6)
	require.NoError(t, err)
	require.Equal(t, entries("", 11, 11), list)
	head, err := i.Head(t.Context(), 3)
	require.NoError(t, err)
	require.EqualValues(t, 11, head)
}

// The issuer is restored while its pages are read, or never comes to an end.
func TestPagesThatDoNotFitTogetherAreNotUsed(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]func(from int64) feedpage.Page{
		"another history": func(from int64) feedpage.Page {
			if from == 0 {
				return feedpage.Page{Entries: entries("", 1, 4), End: 4, Head: 9}
			}
			return feedpage.Page{Entries: entries("restored", 4, 9), End: 9, Head: 9}
		},
		"a hole between pages": func(from int64) feedpage.Page {
			if from == 0 {
				return feedpage.Page{Entries: entries("", 1, 4), End: 4, Head: 9}
			}
			return feedpage.Page{Entries: entries("", 5, 9), End: 9, Head: 9}
		},
		"shorter than before": func(from int64) feedpage.Page {
			if from == 0 {
				return feedpage.Page{Entries: entries("", 1, 4), End: 4, Head: 9}
			}
			return feedpage.Page{End: 3, Head: 3}
		},
		"no entries":          func(int64) feedpage.Page { return feedpage.Page{End: 9, Head: 9} },
		"no entries, no end":  func(int64) feedpage.Page { return feedpage.Page{Head: 9} },
		"entries after end":   func(int64) feedpage.Page { return feedpage.Page{Entries: entries("", 1, 9), End: 8, Head: 9} },
		"end after entries":   func(int64) feedpage.Page { return feedpage.Page{Entries: entries("", 1, 8), End: 9, Head: 9} },
		"entries after head":  func(int64) feedpage.Page { return feedpage.Page{Entries: entries("", 1, 9), End: 9, Head: 8} },
		"entries before from": func(int64) feedpage.Page { return feedpage.Page{Entries: entries("", 0, 9), End: 9, Head: 9} },
		"no end": func(from int64) feedpage.Page {
			return feedpage.Page{Entries: entries("", max(1, from), max(1, from)), End: max(1, from), Head: 9}
		},
	} {
		i := newIssuing(t)
		i.page = page
		_, err := i.Read(t.Context(), 0, 100)
		require.Error(t, err, name)
		require.LessOrEqual(t, len(i.asked), 3, name)
		if strings.HasPrefix(name, "no entries") || strings.HasPrefix(name, "end") ||
			strings.HasPrefix(name, "entries after") {
			require.ErrorContains(t, err, "entries are missing in the page", name)
		}
	}
}

// The age of a page is a difference of times of the issuer, so it does not matter which time the issuer
// has. It is counted from before the request.
func TestTheAgeOfAPageIsThatOfTheIssuer(t *testing.T) {
	t.Parallel()
	i := newIssuing(t)
	sent := i.clock.Now()
	i.page = func(int64) feedpage.Page {
		theirs := sent.Add(-time.Hour)
		i.clock.Advance(2 * time.Second) // the request takes this long
		return feedpage.Page{SignedAt: theirs, AsOf: theirs.Add(-700 * time.Millisecond)}
	}
	_, err := i.Read(t.Context(), 0, 100)
	require.NoError(t, err)
	require.Equal(t, sent.Add(-700*time.Millisecond), i.AsOf())
}

func TestAFailedRequestIsNotRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	i := newIssuing(t)
	i.page = func(int64) feedpage.Page { return feedpage.Page{End: 9} }
	_, failure := i.Read(t.Context(), 0, 100)
	require.Error(t, failure)
	for range 10 {
		_, err := i.Read(t.Context(), 0, 100)
		require.Equal(t, failure, err)
	}
	require.Len(t, i.asked, 1)
	i.clock.Advance(500 * time.Millisecond)
	i.page = func(int64) feedpage.Page { return feedpage.Page{} }
	_, err := i.Read(t.Context(), 0, 100)
	require.NoError(t, err)

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = i.Read(canceled, 0, 100)
	require.ErrorIs(t, err, context.Canceled)
	_, err = i.Read(t.Context(), 0, 100)
	require.NoError(t, err, "a canceled request says nothing about the issuer")
}

// A panic of the host's HTTP client is a failure.
func TestAPanicOfTheHTTPClientIsAnError(t *testing.T) {
	t.Parallel()
	_, ring := newKey(t)
	keys := func(context.Context) (*signing.Ring, error) { return ring, nil }
	f := feedpage.NewFollower(feedpage.FollowerConfig{
		URL: &url.URL{Scheme: "https", Host: "api.example.com"}, Issuer: issuer, Now: time.Now, Keys: keys,
		Client: signing.StrictClient(&http.Client{Transport: panicking{}}),
		Tokens: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "access"}),
	})
	_, err := f.Read(t.Context(), 0, 100)
	require.ErrorContains(t, err, "RemoteVerifierConfig.HTTPClient panicked")
}

type panicking struct{}

func (panicking) RoundTrip(*http.Request) (*http.Response, error) { panic("broken") }

// If the keys of the issuer cannot be fetched, no access token is fetched or sent either.
func TestWithoutKeysNothingIsSent(t *testing.T) {
	t.Parallel()
	i := newIssuing(t)
	away := errors.New("no keys")
	f := feedpage.NewFollower(feedpage.FollowerConfig{
		URL: &url.URL{Scheme: "https", Host: "api.example.com"}, Issuer: issuer, Now: time.Now, Tokens: i,
		Keys:   func(context.Context) (*signing.Ring, error) { return nil, away },
		Client: signing.StrictClient(&http.Client{Transport: panicking{}}),
	})
	_, err := f.Read(t.Context(), 0, 100)
	require.ErrorIs(t, err, away)
}

// Each of these pages is signed by the issuer, and is not an answer to the request, or contradicts itself.
func TestAPageThatAnswersAnotherRequestIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(i *issuing, page *feedpage.Page)
		want   string // part of the error; empty if the page is good
	}{
		"as it is":           {func(*issuing, *feedpage.Page) {}, ""},
		"another issuer":     {func(_ *issuing, p *feedpage.Page) { p.Issuer += "/" }, "another issuer"},
		"another nonce":      {func(_ *issuing, p *feedpage.Page) { p.Nonce += "A" }, "another request"},
		"an earlier from":    {func(_ *issuing, p *feedpage.Page) { p.From-- }, "another request"},
		"a later from":       {func(_ *issuing, p *feedpage.Page) { p.From++ }, "another request"},
		"an entry twice":     {func(_ *issuing, p *feedpage.Page) { p.Entries[1] = p.Entries[0] }, "out of order"},
		"an entry too early": {func(_ *issuing, p *feedpage.Page) { p.Entries[0].Position-- }, "out of order"},
		"as old as its time": {func(_ *issuing, p *feedpage.Page) { p.AsOf = p.SignedAt }, ""},
		"older than itself": {func(_ *issuing, p *feedpage.Page) {
			p.AsOf = p.SignedAt.Add(time.Millisecond)
		}, "from before the revocations"},
		"30 seconds ahead": {func(_ *issuing, p *feedpage.Page) {
			p.SignedAt, p.AsOf = p.SignedAt.Add(30*time.Second), p.AsOf.Add(30*time.Second)
		}, ""},
		"more than 30 seconds ahead": {func(_ *issuing, p *feedpage.Page) {
			p.SignedAt, p.AsOf = p.SignedAt.Add(30_001*time.Millisecond), p.AsOf.Add(30_001*time.Millisecond)
		}, "from the future"},
	} {
		i := newIssuing(t)
		i.page = func(int64) feedpage.Page {
			return feedpage.Page{Entries: entries("", 5, 7), End: 7, Head: 7}
		}
		i.change = c.change
		list, err := i.Read(t.Context(), 5, 100)
		if c.want != "" {
			require.ErrorContains(t, err, c.want, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, entries("", 5, 7), list, name)
	}
}
