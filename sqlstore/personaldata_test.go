package sqlstore_test

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
)

// dataRow is a row of docs/personal-data.md about a table.
type dataRow struct {
	columns  []string
	personal bool // whether the table has data about persons
	stays    bool // whether data stays after the user was deleted
}

var inBackquotes = regexp.MustCompile("`([^`]+)`")

// personalDataPage returns the rows of the page, by the name of the table.
func personalDataPage(t *testing.T) map[string]dataRow {
	t.Helper()
	page, err := os.ReadFile("../docs/personal-data.md")
	require.NoError(t, err)
	rows := map[string]dataRow{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.HasPrefix(cells[1], " `auth_") {
			continue
		}
		name := strings.Trim(cells[1], " `")
		require.NotContains(t, rows, name)
		row := dataRow{personal: len(cells) > 4}
		row.stays = row.personal && strings.HasPrefix(cells[4], " stays")
		for _, match := range inBackquotes.FindAllStringSubmatch(cells[2], -1) {
			row.columns = append(row.columns, match[1])
		}
		slices.Sort(row.columns)
		rows[name] = row
	}
	return rows
}

// schemaOf returns the sorted columns of each table of the store.
func schemaOf(t *testing.T, db *sql.DB) map[string][]string {
	t.Helper()
	rows, err := db.Query(`SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name, c.name`)
	require.NoError(t, err)
	defer rows.Close()
	tables := map[string][]string{}
	for rows.Next() {
		var table, column string
		require.NoError(t, rows.Scan(&table, &column))
		tables[table] = append(tables[table], column)
	}
	require.NoError(t, rows.Err())
	return tables
}

func TestThePageAboutPersonalDataNamesEveryColumn(t *testing.T) {
	t.Parallel()
	db := openMemory(t, nil)
	mustOpen(t, db)
	schema, page := schemaOf(t, db), personalDataPage(t)
	require.Equal(t, slices.Sorted(maps.Keys(schema)), slices.Sorted(maps.Keys(page)),
		"docs/personal-data.md must have a row for each table")
	for table, columns := range schema {
		require.Equal(t, columns, page[table].columns, "docs/personal-data.md: columns of %s", table)
	}
}

// tracesOf returns the tables in which one of the texts occurs, and the columns in which it does.
func tracesOf(t *testing.T, db *sql.DB, texts ...string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for table, columns := range schemaOf(t, db) {
		for _, column := range columns {
			rows, err := db.Query(fmt.Sprintf(`SELECT CAST(%s AS TEXT) FROM %s WHERE %[1]s IS NOT NULL`,
				column, table))
			require.NoError(t, err)
			for rows.Next() {
				var value string
				require.NoError(t, rows.Scan(&value))
				occurs := func(text string) bool { return strings.Contains(value, text) }
				if slices.ContainsFunc(texts, occurs) && !slices.Contains(found[table], column) {
					found[table] = append(found[table], column)
				}
			}
			require.NoError(t, rows.Err())
			require.NoError(t, rows.Close())
		}
	}
	return found
}

// TestADeletedUserLeavesOnlyWhatThePageSays fills every table with data about one user, and looks for
// these data after the user was deleted.
func TestADeletedUserLeavesOnlyWhatThePageSays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := openMemory(t, nil)
	store := mustOpen(t, db)
	fake, err := githubtest.Start("", githubtest.Config{AutoApprove: "octocat"})
	require.NoError(t, err)
	t.Cleanup(func() { fake.Close() })
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	t.Cleanup(server.Close)
	id, secret := fake.Client()
	signing, err := auth.NewHS256Key("1", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	sealing, err := auth.NewSymmetricKey("1", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	svc, err := auth.New(store, auth.Config{
		Issuer: server.URL, SigningKeys: []auth.SigningKey{signing}, SealingKeys: []auth.SymmetricKey{sealing},
		Proxies: auth.NoProxies(), OnEvent: func(auth.Event) {}, // without OnEvent, no client is remembered
		GitHub: &auth.GitHubConfig{ClientID: id, ClientSecret: auth.NewSecret(secret), BaseURL: fake.URL(),
			APIURL: fake.URL() + "/api/v3", Host: "githubtest.invalid",
			CallbackURL: server.URL + "/api/v1/auth/github/callback"},
	})
	require.NoError(t, err)
	handler := svc.Handler()
	server.Config.Handler = handler

	const address, agent = "198.51.100.7", "Agent of alice"
	const email, name = "alice@example.com", "alice-the-first"
	pair := svc.Credentials().GeneratePair()
	alice, err := svc.Bootstrap(ctx, auth.UserParams{Username: name, Email: email}, pair)
	require.NoError(t, err)
	root := true
	made, err := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{Username: "root"})
	require.NoError(t, err)
	_, err = svc.UpdateUser(ctx, auth.ByHost("setup"), made.User.ID, auth.UserChange{IsSuperUser: &root})
	require.NoError(t, err)
	later := "alice-the-second"
	_, err = svc.UpdateUser(ctx, auth.ByHost("setup"), alice.ID, auth.UserChange{Username: &later})
	require.NoError(t, err)

	send := func(method, path, body, token string) string {
		r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
		r.RemoteAddr = address + ":1234"
		r.Header.Set("User-Agent", agent)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.Less(t, w.Code, 300, w.Body)
		return w.Body.String()
	}
	answer := send(http.MethodPost, "/auth/users/login", fmt.Sprintf(
		`{"access_key": %q, "access_secret": %q}`, pair.AccessKey, pair.AccessSecret.Reveal()), "")
	bearer := regexp.MustCompile(`"token": ?"([^"]+)"`).FindStringSubmatch(answer)[1]
	send(http.MethodPost, "/auth/keys", `{"label": "key of alice"}`, "Bearer "+bearer)

	browser := server.Client()
	browser.Jar, err = cookiejar.New(nil)
	require.NoError(t, err)
	get := func(url string) string {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		require.NoError(t, err)
		if strings.HasSuffix(url, "/github/login") {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		w, err := browser.Do(r)
		require.NoError(t, err)
		defer w.Body.Close()
		var body strings.Builder
		require.NoError(t, w.Write(&body))
		require.Equal(t, http.StatusOK, w.StatusCode, body.String())
		return body.String()
	}
	answer = get(server.URL + "/api/v1/auth/github/login")
	authURL := regexp.MustCompile(`"auth_url": ?"([^"]+)"`).FindStringSubmatch(answer)[1]
	get(strings.ReplaceAll(authURL, `\u0026`, "&"))

	caller, err := svc.Tokens().Verify(ctx, bearer)
	require.NoError(t, err)
	require.NoError(t, store.CreateDevice(ctx, auth.DeviceAuthorization{CodeHash: "a", UserCodeHash: "b",
		ClientID: "cli", Scopes: auth.NewScopes("auth:keys"), Address: address, UserAgent: agent,
		CreatedAt: time.Now(), ExpiresAt: time.Now().Add(10 * time.Minute), Interval: 5 * time.Second}))
	_, err = store.ClaimDevice(ctx, auth.Write{By: caller.Authority(), Now: time.Now,
		MaxTokenLifetime: 12 * time.Hour}, "b")
	require.NoError(t, err)
	_, err = svc.Tokens().RevokeUser(ctx, auth.ByHost("setup"), alice.ID)
	require.NoError(t, err)
	_, err = svc.Login(ctx, pair, auth.LoginOptions{})
	require.NoError(t, err)

	const octocat = "583231"
	data := []string{alice.ID, name, later, email, address, agent, octocat, "octocat", pair.AccessKey,
		"key of alice"}
	page := personalDataPage(t)
	before := tracesOf(t, db, data...)
	for table, row := range page {
		switch {
		case table == "auth_host_users", table == "auth_spent_grants": // another kind of store; a digest
		case row.personal:
			require.Contains(t, before, table, "the test must fill all tables with data about persons")
		default:
			require.NotContains(t, before, table, "the page says that there are no data about persons")
		}
	}

	require.NoError(t, svc.DeleteUser(ctx, auth.ByHost("privacy desk"), alice.ID))
	after := tracesOf(t, db, data...)
	for table := range before {
		if !page[table].stays {
			require.NotContains(t, after, table, "the page says that DeleteUser removes it")
		} else {
			require.Contains(t, after, table, "the page says that it stays")
		}
	}
	slices.Sort(after["auth_events"])
	require.Equal(t, []string{"access_key", "actor_id", "github_id", "user_id"}, after["auth_events"],
		"neither the address nor a name")
	require.Equal(t, []string{"account_id"}, after["auth_github_accounts"])
}
