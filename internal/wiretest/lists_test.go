package wiretest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// named registers a user with these names and returns the ID.
func (f *fixture) named(username, email string, change func(*auth.UserParams)) string {
	f.t.Helper()
	params := auth.UserParams{Username: username, Email: email}
	if change != nil {
		change(&params)
	}
	made, err := f.svc.Register(f.t.Context(), authtest.ByHost, params)
	require.NoError(f.t, err)
	return made.User.ID
}

func TestUsersAreSearchedByNameAndSelectedByKindAndState(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		store := open(t)
		f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = store })
		zoe := f.named("zoe", "Quinn.Z@example.com", nil)
		ann := f.named("Quinn", "ann@example.com", nil)
		bob := f.named("quinn_b", "quinn_b@example.com", func(p *auth.UserParams) { p.IsSuperUser = true })
		robot := f.named("quinn-ci", "", func(p *auth.UserParams) { p.IsService = true })
		gone := f.named("quinn%", "", nil)
		off := false
		_, err := f.svc.UpdateUser(t.Context(), authtest.ByHost, gone, auth.UserChange{IsActive: &off})
		require.NoError(t, err)

		for query, want := range map[string][]string{
			"search=quinn":                               {ann, gone, bob, zoe},
			"search=QUINN&kind=all":                      {ann, gone, robot, bob, zoe},
			"search=quinn&kind=service":                  {robot},
			"search=quinn&kind=super_user":               {bob},
			"search=quinn&state=active":                  {ann, bob, zoe},
			"search=quinn&state=inactive":                {gone},
			"search=quinn&state=inactive&kind=service":   {},
			"search=Quinn.z@Example":                     {zoe},
			"search=quinn_":                              {bob},
			"search=quinn%25":                            {gone},
			"search=uinn":                                {},
			"search=%25uinn":                             {},
			"search=quinn%27%20OR%20%271":                {},
			"search=ann":                                 {ann},
			"search=" + strings.Repeat("x", 254):         {},
			"state=inactive":                             {gone},
			"state=inactive&kind=all":                    {gone},
			"search=%F4%8F%BF%BF":                        {},
			"search=z&after=1%3Azoe":                     {},
			"search=quinn&after=2%3Aquinn&kind=all":      {zoe},
			"search=quinn&after=1%3Aquinn-ci&kind=all":   {bob, zoe},
			"search=quinn&after=1%3Aquinn_b&kind=person": {zoe},
		} {
			for _, limit := range []string{"", "&limit=1", "&limit=2", "&limit=200"} {
				got := f.walkUsers("/auth/users?" + query + limit)
				require.Equal(t, append([]string{}, want...), append([]string{}, got...), query+limit)
			}
		}
		all := f.walkUsers("/auth/users?kind=all")
		require.ElementsMatch(t, all, append(f.walkUsers("/auth/users?kind=all&state=active&limit=1"), gone))
		supers := f.walkUsers("/auth/users?kind=super_user&limit=1")
		require.ElementsMatch(t, []string{f.admin.ID, bob}, supers)
	})
}

// An answer must not repeat what was searched: the text could be an attack on a person who reads it.
func TestASearchThatIsNotValidIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for query, field := range map[string]string{
		"search=": "search", "search=%00": "search", "search=a%0Ab": "search", "search=%FF": "search",
		"search=evil%E2%80%AE": "search", "search=" + strings.Repeat("x", 255): "search",
		"state=": "", "state=x": "state", "state=Active": "state", "state=disabled": "state",
		"kind=superuser": "kind", "kind=super_user%20": "kind",
		"search=evil&after=" + f.user.ID: "after", "search=evil&after=1%3Aeve": "after",
		"search=evil&after=1%3Aevil%00": "after", "search=evil&after=%00": "after",
		"search=evil&after=2%3Aevil" + strings.Repeat("x", 4000): "after",
	} {
		r := f.asAdmin(http.MethodGet, "/auth/users?"+query, "")
		if field == "" {
			require.Equal(t, http.StatusOK, r.status, query)
			continue
		}
		require.Equal(t, http.StatusUnprocessableEntity, r.status, query)
		require.Contains(t, r.json(t)["detail"], "Field "+field+" must ")
		require.NotContains(t, r.body, "evil")
	}
}

// outdatedStore is a store that was written before queries had a search: it ignores everything but After and
// Limit.
type outdatedStore struct{ auth.Store }

func (s outdatedStore) ListUsers(ctx context.Context, query auth.UserQuery) ([]auth.User, error) {
	return s.Store.ListUsers(ctx, auth.UserQuery{After: query.After, Limit: query.Limit})
}

func TestAStoreThatIgnoresTheSearchIsAFailureAndNoAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = outdatedStore{f.store} })
	require.Equal(t, http.StatusOK, f.asAdmin(http.MethodGet, "/auth/users?kind=all", "").status)
	for _, query := range []string{
		"kind=super_user", "kind=service", "state=inactive", "search=alice", "search=x",
	} {
		r := f.asAdmin(http.MethodGet, "/auth/users?"+query, "")
		require.Equal(t, http.StatusServiceUnavailable, r.status, query)
		require.NotContains(t, r.body, "alice")
	}
	require.Contains(t, f.log.String(), "ListUsers returned a user whom the query does not select")
}

func TestASuperUserSeesTheKeysAndSessionsOfAUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	f.sendAs(token, http.MethodPost, "/auth/keys", `{"label":"CI","expires_at":"2027-01-01T00:00:00Z"}`)
	for _, list := range []string{"keys", "sessions"} {
		own := f.sendAs(token, http.MethodGet, "/auth/"+list, "")
		require.Equal(t, http.StatusOK, own.status)
		seen := f.asAdmin(http.MethodGet, "/auth/users/"+f.user.ID+"/"+list, "")
		require.Equal(t, http.StatusOK, seen.status, seen.body)
		want := own.array(t)
		for _, record := range want {
			if _, is := record["current"]; is {
				record["current"] = false // it is the session of another caller
			}
		}
		require.NotEmpty(t, want)
		require.Equal(t, want, seen.array(t))
		require.NotContains(t, seen.body, f.userPair.AccessSecret.Reveal())
	}

	admin := f.signIn(f.admin)
	mine := f.sendAs(admin, http.MethodGet, "/auth/users/"+f.admin.ID+"/sessions", "")
	require.Equal(t, f.sendAs(admin, http.MethodGet, "/auth/sessions", "").body, mine.body)
	require.Contains(t, mine.body, `"current":true`)

	lonely := f.named("lonely", "", nil)
	require.Equal(t, "[]", strings.TrimSpace(
		f.sendAs(admin, http.MethodGet, "/auth/users/"+lonely+"/sessions", "").body))
	require.NoError(t, f.svc.DeleteUser(t.Context(), authtest.ByHost, lonely))
	for _, id := range []string{
		lonely, "none", "%00", "%FF", strings.Repeat("x", 4000), "login", "register",
	} {
		for _, list := range []string{"keys", "sessions"} {
			r := f.sendAs(admin, http.MethodGet, "/auth/users/"+id+"/"+list, "")
			require.Equal(t, http.StatusNotFound, r.status, "%.20s", id)
		}
	}
}

// A demoted super user must see nothing more, although the token is still valid.
func TestALostPowerShowsNoKeysAndSessionsOfOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	second := f.named("second", "", func(p *auth.UserParams) { p.IsSuperUser = true })
	token, err := f.svc.SignIn(t.Context(), second, auth.LoginOptions{})
	require.NoError(t, err)
	paths := []string{"/auth/users/" + f.user.ID + "/keys", "/auth/users/" + f.user.ID + "/sessions",
		"/auth/users?search=a", "/auth/events?from=2026-01-01T00:00:00Z"}
	for _, want := range []int{http.StatusOK, http.StatusForbidden} {
		for _, path := range paths {
			require.Equal(t, want, f.sendAs(token.Bearer.Reveal(), http.MethodGet, path, "").status, path)
		}
		off := false
		_, err := f.svc.UpdateUser(t.Context(), authtest.ByHost, second, auth.UserChange{IsSuperUser: &off})
		require.NoError(t, err)
	}
}

func TestEventsAreSelectedByTime(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		store := open(t)
		f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = store })
		began := f.clock.Now().Truncate(time.Microsecond) // as stores keep times
		var made []string                                 // the labels of keys, one every minute
		for range 5 {
			f.clock.Advance(time.Minute)
			_, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID, auth.KeyOptions{})
			require.NoError(t, err)
			made = append(made, f.clock.Now().Format(time.RFC3339))
		}
		at := func(minutes int, offset time.Duration) string {
			return url.QueryEscape(began.Add(time.Duration(minutes)*time.Minute + offset).
				In(time.FixedZone("", 2*3600)).Format(time.RFC3339Nano))
		}
		for query, want := range map[string][]string{
			"from=" + at(2, 0) + "&to=" + at(4, 0):                           made[1:3],
			"from=" + at(2, time.Nanosecond) + "&to=" + at(4, 1):             made[2:4],
			"from=" + at(4, 0):                                               made[3:],
			"to=" + at(2, 0):                                                 made[:1],
			"to=" + at(1, 0):                                                 {},
			"from=" + at(6, 0):                                               {},
			"from=1970-01-02T00:00:00Z&to=9999-12-31T23:59:59Z":              made,
			"user_id=" + f.user.ID + "&from=" + at(3, 0):                     made[2:],
			"user_id=" + f.admin.ID + "&from=" + at(3, 0):                    {},
			"user_id=" + f.user.ID + "&from=" + at(2, 0) + "&to=" + at(3, 0): made[1:2],
		} {
			for _, limit := range []string{"", "&limit=1", "&limit=2"} {
				var got []string
				for page := "/auth/events?kind=key.issued&" + query + limit; page != ""; {
					r := f.asAdmin(http.MethodGet, page, "")
					require.Equal(t, http.StatusOK, r.status, r.body)
					for _, event := range r.array(t) {
						got = append([]string{event["at"].(string)}, got...)
					}
					page, _, _ = strings.Cut(strings.TrimPrefix(r.header.Get("Link"), "<"), ">")
				}
				require.Equal(t, append([]string{}, want...), append([]string{}, got...), query+limit)
			}
		}
	})
}

func TestATimeOfEventsThatIsNotValidIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const day = "2026-01-02T03:04:05Z"
	for query, field := range map[string]string{
		"from=": "from", "to=": "to", "from=yesterday": "from", "to=2026-01-02": "to", "from=1767323045": "from",
		"from=2026-01-02T03:04:05": "from", "to=2026-02-30T03:04:05Z": "to", "to=" + day + "%00": "to",
		"from=2026-01-02T03:04:05+02:00": "from", // a plus sign in a URL is a space
		"from=1969-12-31T23:59:59Z":      "from", "to=1970-01-01T00:00:00Z": "to", "from=0001-01-01T00:00:00Z": "from",
		"from=" + day + "&to=" + day: "to", "to=" + day + "&from=2026-01-02T03:04:06Z": "to",
		"from=" + strings.Repeat("9", 4000): "from",
	} {
		r := f.asAdmin(http.MethodGet, "/auth/events?"+query, "")
		require.Equal(t, http.StatusUnprocessableEntity, r.status, query)
		require.Contains(t, r.json(t)["detail"], "Field "+field+" must be ", query)
	}
	_, err := f.svc.Events(t.Context(), auth.EventFilter{From: f.clock.Now(), To: f.clock.Now()}, 1)
	require.ErrorIs(t, err, auth.ErrInvalid)
}

// A script whose variable is not set, or that does not escape a text, must not get the records of all users.
func TestAFilterThatCannotBeReadDoesNotSelectEverything(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for target, want := range map[string]int{
		"/auth/events?user_id=": 422, "/auth/events?user_id": 422, "/auth/events?user_id=&limit=1": 422,
		"/auth/events?user_id=a%zz": 400, "/auth/events?user_id=a;b": 400, "/auth/events?before=%": 400,
		"/auth/users?search=": 422, "/auth/users?search": 422, "/auth/users?search=a;b": 400,
		"/auth/users?search=100%": 400, "/auth/users?after=%zz": 400,
		"/auth/events?user_id=a%3Bb": 200, "/auth/users?search=100%25": 200,
	} {
		r := f.asAdmin(http.MethodGet, target, "")
		require.Equal(t, want, r.status, "%s: %s", target, r.body)
		if want == http.StatusOK {
			require.Empty(t, r.array(t), target)
		}
	}
}

// A description without the parameters would hide the search from the pages of package console and from
// generated clients.
func TestTheParametersOfTheListsAreDescribed(t *testing.T) {
	t.Parallel()
	var document struct {
		Paths map[string]struct {
			Get struct{ Parameters []struct{ Name string } }
		}
	}
	require.NoError(t, json.Unmarshal(auth.OpenAPI(), &document))
	for path, want := range map[string][]string{
		"/auth/users":  {"limit", "after", "kind", "state", "search"},
		"/auth/events": {"limit", "before", "user_id", "kind", "from", "to"},
	} {
		var names []string
		for _, parameter := range document.Paths[path].Get.Parameters {
			names = append(names, parameter.Name)
		}
		require.ElementsMatch(t, want, names)
	}
}
