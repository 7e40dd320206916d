package upgrade_test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/sqltest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// patience is how long a test waits for a change that another instance has made. An instance needs at most
// 5 seconds, and more if the machine is busy.
const patience = 30 * time.Second

// TestOldAndNewInstancesShareADatabase upgrades a service as its host would: while an instance of the last
// release serves requests, an instance of this version starts, and then both serve.
func TestOldAndNewInstancesShareADatabase(t *testing.T) {
	t.Parallel()
	oldBinary := lastRelease(t)
	newBinary, err := os.Executable()
	require.NoError(t, err)
	for dialect, newDSN := range databases {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			service := service{dialect: dialect, dsn: newDSN(t), signingKey: rand.Text() + rand.Text()}
			before := service.start(t, oldBinary)
			admin := before.signIn(t, before.key, before.secret)

			stopTraffic := before.traffic(t, admin)
			after := service.start(t, newBinary)
			stopTraffic()
			require.Empty(t, after.key, "the new instance finds the first user")

			for name, pair := range map[string][2]*instance{"old": {before, after}, "new": {after, before}} {
				t.Run("sign-in at the "+name+" instance", func(t *testing.T) {
					t.Parallel()
					keepOneService(t, pair[0], pair[1], admin)
				})
			}
		})
	}
}

// keepOneService makes changes at one of the instances, and checks that the other one acts on them.
func keepOneService(t *testing.T, a, b *instance, admin string) {
	user := a.register(t, admin)
	record := fmt.Sprintf("/auth/users/%s", user.id)

	atA, atB := a.signIn(t, user.key, user.secret), b.signIn(t, user.key, user.secret)
	for _, token := range []string{atA, atB} {
		a.want(t, http.StatusOK, http.MethodGet, "/auth/user", token, nil)
		b.want(t, http.StatusOK, http.MethodGet, "/auth/user", token, nil)
	}
	require.Len(t, b.list(t, "/auth/sessions", atA), 2)

	b.want(t, http.StatusOK, http.MethodPost, "/auth/logout", atA, nil)
	b.want(t, http.StatusUnauthorized, http.MethodGet, "/auth/user", atA, nil)
	a.eventuallyRejects(t, atA)
	a.want(t, http.StatusOK, http.MethodGet, "/auth/user", atB, nil)

	a.want(t, http.StatusOK, http.MethodPost, "/auth/tokens/revoke-user/"+user.id, admin, nil)
	b.eventuallyRejects(t, atB)

	next := b.signIn(t, user.key, user.secret)
	rotated := a.want(t, http.StatusCreated, http.MethodPost, "/auth/keys/"+user.key+"/rotate", next, nil)
	secret := rotated["access_secret"].(string)
	b.want(t, http.StatusUnauthorized, http.MethodPost, "/auth/users/login", "", login(user.key, user.secret))
	next = b.signIn(t, user.key, secret)

	b.want(t, http.StatusOK, http.MethodPatch, record, admin, map[string]any{"is_active": false})
	a.want(t, http.StatusUnauthorized, http.MethodPost, "/auth/users/login", "", login(user.key, secret))
	a.eventuallyRejects(t, next)
	a.want(t, http.StatusOK, http.MethodPatch, record, admin, map[string]any{"is_active": true})
	next = b.signIn(t, user.key, secret)

	var kinds []any
	for _, event := range b.list(t, "/auth/events?user_id="+user.id, admin) {
		kinds = append(kinds, event.(map[string]any)["kind"])
	}
	require.Subset(t, kinds, []any{"user.created", "key.rotated", "user.changed"})

	a.want(t, http.StatusOK, http.MethodDelete, record, admin, nil)
	b.want(t, http.StatusUnauthorized, http.MethodPost, "/auth/users/login", "", login(user.key, secret))
	b.eventuallyRejects(t, next)
}

// databases returns the DSN of an empty database for each dialect.
var databases = map[sqlstore.Dialect]func(t *testing.T) string{
	sqlstore.SQLite: func(t *testing.T) string {
		return filepath.Join(testenv.TempDir(t), "upgrade.db")
	},
	sqlstore.Postgres: func(t *testing.T) string {
		return newSchema(t, sqlstore.Postgres, "AUTH_TEST_POSTGRES_DSN", " CASCADE")
	},
	sqlstore.MySQL: func(t *testing.T) string { return newSchema(t, sqlstore.MySQL, "AUTH_TEST_MYSQL_DSN", "") },
}

func newSchema(t *testing.T, dialect sqlstore.Dialect, variable, drop string) string {
	dsn := os.Getenv(variable)
	if dsn == "" {
		testenv.Skip(t, variable+" is not set")
	}
	db, err := openDatabase(dialect, dsn)
	require.NoError(t, err)
	schema := "auth_upgrade_" + strings.ToLower(rand.Text()[:10])
	_, err = db.Exec(`CREATE SCHEMA ` + schema)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.Exec(`DROP SCHEMA ` + schema + drop)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	})
	return sqltest.InSchema(dialect, dsn, schema)
}

// service is what its instances share.
type service struct {
	dialect         sqlstore.Dialect
	dsn, signingKey string
}

// instance is a process that serves calls.
type instance struct {
	url         string
	key, secret string // of the first user, if this instance has created it
}

// start starts the binary and waits until it serves calls.
func (s service) start(t *testing.T, binary string) *instance {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), dialectVariable+"="+string(s.dialect), dsnVariable+"="+s.dsn,
		signingVariable+"="+s.signingKey)
	var log bytes.Buffer
	cmd.Stderr = &log
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		require.NoError(t, cmd.Wait(), "%s", log.Bytes())
		require.NotContains(t, log.String(), "level=ERROR")
	})
	i := &instance{}
	for lines := bufio.NewScanner(stdout); i.url == "" && lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		field := map[string]*string{"access_key": &i.key, "access_secret": &i.secret, "url": &i.url}[name]
		require.NotNil(t, field, "%s", lines.Text())
		*field = value
	}
	require.NotEmpty(t, i.url, "the instance ended early")
	return i
}

// traffic signs a user in again and again, until the returned function is called. Each call must succeed.
func (i *instance) traffic(t *testing.T, admin string) (stop func()) {
	t.Helper()
	user := i.register(t, admin)
	credentials := login(user.key, user.secret)
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			status, body, err := i.call(http.MethodPost, "/auth/users/login", "", credentials)
			if err == nil && status == http.StatusOK {
				token := body.(map[string]any)["token"].(string)
				status, body, err = i.call(http.MethodGet, "/auth/user", token, nil)
			}
			if err != nil || status != http.StatusOK {
				t.Errorf("a call during the upgrade: status %d, %v, %v", status, body, err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	return func() { close(done); running.Wait() }
}

// call sends a request and returns the status and the JSON value of the answer.
func (i *instance) call(method, path, token string, body any) (status int, answer any, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequest(method, i.url+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	if body == nil {
		request.Body = http.NoBody
		request.ContentLength = 0
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	err = json.NewDecoder(response.Body).Decode(&answer)
	return response.StatusCode, answer, cmp.Or(err, response.Body.Close())
}

func (i *instance) want(
	t *testing.T, want int, method, path, token string, body any,
) map[string]any {
	t.Helper()
	status, answer, err := i.call(method, path, token, body)
	require.NoError(t, err)
	require.Equal(t, want, status, "%s %s: %v", method, path, answer)
	return answer.(map[string]any)
}

func (i *instance) list(t *testing.T, path, token string) []any {
	t.Helper()
	status, answer, err := i.call(http.MethodGet, path, token, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "%s: %v", path, answer)
	return answer.([]any)
}

// eventuallyRejects waits until the instance has learned that the token was revoked.
func (i *instance) eventuallyRejects(t *testing.T, token string) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, _, err := i.call(http.MethodGet, "/auth/user", token, nil)
		return err == nil && status == http.StatusUnauthorized
	}, patience, 50*time.Millisecond)
}

func login(key, secret string) map[string]string {
	return map[string]string{"access_key": key, "access_secret": secret}
}

func (i *instance) signIn(t *testing.T, key, secret string) (token string) {
	t.Helper()
	answer := i.want(t, http.StatusOK, http.MethodPost, "/auth/users/login", "", login(key, secret))
	return answer["token"].(string)
}

// user is a registered user.
type user struct{ id, key, secret string }

func (i *instance) register(t *testing.T, admin string) user {
	t.Helper()
	made := i.want(t, http.StatusOK, http.MethodPost, "/api/v1/user/register", admin,
		map[string]string{"username": "user-" + rand.Text()})
	return user{made["user_id"].(string), made["access_key"].(string), made["access_secret"].(string)}
}
