package recipes_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v3"
	"github.com/labstack/echo/v5"
	"github.com/sallyport-go/auth"
	chiauth "github.com/sallyport-go/auth/recipes/chi"
	echoauth "github.com/sallyport-go/auth/recipes/echo"
	fiberauth "github.com/sallyport-go/auth/recipes/fiber"
	ginauth "github.com/sallyport-go/auth/recipes/gin"
	"github.com/stretchr/testify/require"
)

// routers contains a server for each recipe, and what differs between the routers. Each server has
// an additional route GET /panic, which requires a token.
var routers = []struct {
	name  string
	start func(*testing.T, *auth.Service) (url string)

	head     int    // status of HEAD for a GET call
	slash    int    // status of GET /auth/keys/; only /auth/keys exists
	allow    string // Allow header of PUT /auth/keys
	slowBody bool   // a body that arrives too slowly gets 408
}{
	{
		name: "chi", head: 405, slash: 404, allow: "GET, POST", slowBody: true,
		start: startChi(chiauth.New),
	}, {
		name: "chi with fallback", head: 200, slash: 404, allow: "GET, HEAD, POST", slowBody: true,
		start: startChi(chiauth.NewWithFallback),
	}, {
		name: "gin", head: 405, slash: 301, allow: "GET, POST", slowBody: true,
		start: func(t *testing.T, svc *auth.Service) string {
			router := ginauth.New(svc)
			router.GET("/panic", ginauth.Use(svc.Authenticate), func(*gin.Context) {
				panic("the host's")
			})
			return serve(t, router)
		},
	}, {
		name: "echo", head: 405, slash: 404, allow: "GET, OPTIONS, POST", slowBody: true,
		start: func(t *testing.T, svc *auth.Service) string {
			router := echoauth.New(svc)
			router.GET("/panic", func(*echo.Context) error { panic("the host's") },
				echo.WrapMiddleware(svc.Authenticate))
			return serve(t, router)
		},
	}, {
		name: "fiber", head: 200, slash: 200, allow: "GET, HEAD, POST",
		start: func(t *testing.T, svc *auth.Service) string {
			app := fiberauth.New(svc)
			app.Get("/panic", fiberauth.Use(svc.Authenticate), func(fiber.Ctx) error {
				panic("the host's")
			})
			return serveFiber(t, app)
		},
	},
}

func serve(t *testing.T, handler http.Handler) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func serveFiber(t *testing.T, app *fiber.App) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- app.Listener(listener, fiber.ListenConfig{DisableStartupMessage: true}) }()
	url := "http://" + listener.Addr().String()
	// Shutdown has no effect on a server that has not started yet, so the test first makes a
	// request.
	answer, err := http.Get(url)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, app.ShutdownWithTimeout(time.Second))
		require.NoError(t, <-served)
	})
	return url
}

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultErrorWriter = io.Discard // hides the stack trace of the panic
	m.Run()
}

// host is a running server with the routes of one recipe.
type host struct {
	*fixture
	t   *testing.T
	url string
}

type response struct {
	*http.Response
	body string
}

func (r response) json(t *testing.T, to any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.body), to), r.body)
}

// send sends a request. Each of the authorization values becomes an Authorization header.
func (h *host) send(method, path, body string, authorization ...string) response {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	require.NoError(h.t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header["Authorization"] = authorization
	return h.do(r)
}

func (h *host) do(r *http.Request) response {
	h.t.Helper()
	client := *http.DefaultClient
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Do(r)
	require.NoError(h.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(h.t, err)
	return response{answer, string(body)}
}

func loginBody(pair auth.KeyPair) string {
	return fmt.Sprintf(`{"access_key": %q, "access_secret": %q}`, pair.AccessKey,
		pair.AccessSecret.Reveal())
}

// login signs in and returns the Authorization header for the new session.
func (h *host) login(pair auth.KeyPair) string {
	h.t.Helper()
	answer := h.send("POST", "/auth/users/login", loginBody(pair))
	require.Equal(h.t, 200, answer.StatusCode, answer.body)
	require.Equal(h.t, "no-store", answer.Header.Get("Cache-Control"))
	require.Equal(h.t, "application/json", answer.Header.Get("Content-Type"))
	var signedIn struct{ Token string }
	answer.json(h.t, &signedIn)
	return "Bearer " + signedIn.Token
}

func startChi(newRouter func(*auth.Service) *chi.Mux) func(*testing.T, *auth.Service) string {
	return func(t *testing.T, svc *auth.Service) string {
		router := newRouter(svc)
		router.With(svc.Authenticate).Get("/panic", func(http.ResponseWriter, *http.Request) {
			panic("the host's")
		})
		return serve(t, router)
	}
}

func eachRouter(t *testing.T, test func(*testing.T, *host, int)) {
	t.Parallel()
	for i, router := range routers {
		t.Run(router.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			test(t, &host{fixture: f, t: t, url: router.start(t, f.svc)}, i)
		})
	}
}

func TestProtectedRouteIdentifiesItsCallerAndRejectsOthers(t *testing.T) {
	eachRouter(t, func(t *testing.T, h *host, _ int) {
		alice := h.login(h.alicePair)
		answer := h.send("GET", "/reports", "", alice)
		require.Equal(t, 200, answer.StatusCode)
		require.Equal(t, "the reports of alice", answer.body)

		const invalid = `error="invalid_token"`
		needs := map[string]string{"/reports": `scope="reports:read"`}
		for name, c := range map[string]struct {
			authorization []string
			problem       string
		}{
			"no token":                      {nil, ""},
			"another scheme":                {[]string{"Basic YTpi"}, ""},
			"a forged token":                {[]string{forged(alice)}, invalid},
			"two tokens":                    {[]string{alice, alice}, invalid},
			"a forged one, then a good one": {[]string{forged(alice), alice}, invalid},
			"a good one, then a forged one": {[]string{alice, forged(alice)}, invalid},
		} {
			for _, path := range []string{"/reports", "/auth/user", "/panic"} {
				answer := h.send("GET", path, "", c.authorization...)
				require.Equal(t, 401, answer.StatusCode, "%s: %s", name, path)
				challenge := strings.Join(slices.DeleteFunc([]string{c.problem, needs[path]},
					func(parameter string) bool { return parameter == "" }), ", ")
				require.Equal(t, strings.TrimSpace("Bearer "+challenge),
					answer.Header.Get("WWW-Authenticate"), "%s: %s", name, path)
				require.Len(t, answer.Header["Www-Authenticate"], 1)
				require.Equal(t, "no-store", answer.Header.Get("Cache-Control"), "%s: %s", name, path)
				require.True(t, strings.HasPrefix(answer.body, `{"detail":"`) &&
					strings.HasSuffix(answer.body, `"}`+"\n"), "one answer: %s", answer.body)
			}
		}

		require.Equal(t, 200, h.send("POST", "/auth/logout", "", alice).StatusCode)
		require.Equal(t, 401, h.send("GET", "/reports", "", alice).StatusCode)
		h.broken.Store(true)
		require.Equal(t, 503, h.send("GET", "/reports", "", "Bearer "+h.token(t, h.alice)).StatusCode)
	})
}

func TestSuperUserRouteRefusesOtherUsers(t *testing.T) {
	eachRouter(t, func(t *testing.T, h *host, _ int) {
		answer := h.send("DELETE", "/reports", "", h.login(h.rootPair))
		require.Equal(t, 200, answer.StatusCode)
		require.Equal(t, "all gone", answer.body)
		answer = h.send("DELETE", "/reports", "", h.login(h.alicePair))
		require.Equal(t, 403, answer.StatusCode)
		require.Equal(t, `{"detail":"Super user access required"}`+"\n", answer.body)
		require.Equal(t, 401, h.send("DELETE", "/reports", "").StatusCode)
	})
}

// A router without the route responds with 404 or 405. The library's handler responds with 401.
func TestEveryCallIsMounted(t *testing.T) {
	eachRouter(t, func(t *testing.T, h *host, _ int) {
		for _, route := range h.svc.Routes() {
			path := strings.NewReplacer("{id}", "x", "{access_key}", "x").Replace(route.Path)
			answer := h.send(route.Method, path, "")
			require.NotContains(t, []int{301, 307, 404, 405}, answer.StatusCode, "%s %s", route.Method,
				route.Path)
			require.NotEmpty(t, answer.Header.Get("Cache-Control"), "%s %s", route.Method, route.Path)
		}
		root := h.login(h.rootPair)
		for _, path := range []string{"/auth/user", "/auth/user/"} {
			require.Equal(t, 200, h.send("GET", path, "", root).StatusCode, path)
		}
	})
}

func TestPathParametersReachTheHandlers(t *testing.T) {
	eachRouter(t, func(t *testing.T, h *host, _ int) {
		root, alice := h.login(h.rootPair), h.login(h.alicePair)
		var found struct {
			Username string `json:"username"`
		}
		answer := h.send("GET", "/auth/users/"+h.alice.ID, "", root)
		require.Equal(t, 200, answer.StatusCode, answer.body)
		answer.json(t, &found)
		require.Equal(t, "alice", found.Username)
		require.Equal(t, 404, h.send("GET", "/auth/users/nobody", "", root).StatusCode)
		require.Equal(t, 403, h.send("GET", "/auth/users/"+h.alice.ID, "", alice).StatusCode)

		var made struct {
			AccessKey    string `json:"access_key"`
			AccessSecret string `json:"access_secret"`
		}
		answer = h.send("POST", "/auth/keys", `{"label": "a second"}`, alice)
		require.Equal(t, 201, answer.StatusCode, answer.body)
		answer.json(t, &made)
		answer = h.send("POST", "/auth/keys/"+made.AccessKey+"/rotate", "", alice)
		require.Equal(t, 201, answer.StatusCode, answer.body)
		answer.json(t, &made)
		h.login(auth.KeyPair{AccessKey: made.AccessKey, AccessSecret: auth.NewSecret(made.AccessSecret)})
		require.Equal(t, 204, h.send("DELETE", "/auth/keys/"+made.AccessKey, "", alice).StatusCode)
		require.Equal(t, 404, h.send("DELETE", "/auth/keys/"+made.AccessKey, "", alice).StatusCode)
		require.Equal(t, 401, h.send("POST", "/auth/users/login", loginBody(auth.KeyPair{
			AccessKey: made.AccessKey, AccessSecret: auth.NewSecret(made.AccessSecret),
		})).StatusCode)
		require.Equal(t, 200, h.send("POST", "/auth/tokens/revoke-user/"+h.alice.ID, "", root).StatusCode)
		require.Equal(t, 401, h.send("GET", "/reports", "", alice).StatusCode)
	})
}

// A path parameter is unescaped exactly once, and an escaped slash is part of the parameter.
func TestPathParametersAreDecodedOnce(t *testing.T) {
	eachRouter(t, func(t *testing.T, h *host, _ int) {
		alice := h.login(h.alicePair)
		for _, key := range []string{importedKey, "100%41", "a b+c"} {
			for _, path := range []string{url.PathEscape(key), escapeAll(key)} {
				require.NoError(t, h.svc.Credentials().Import(t.Context(), auth.ByHost("setup"),
					auth.ImportedKey{
						UserID: h.alice.ID, AccessKey: key, Secret: auth.NewSecret("correct horse battery"),
					}))
				answer := h.send("DELETE", "/auth/keys/"+path, "", alice)
				require.Equal(t, 204, answer.StatusCode, "%s: %s", path, answer.body)
				require.Equal(t, 404, h.send("DELETE", "/auth/keys/"+path, "", alice).StatusCode, path)
			}
		}
	})
}

func escapeAll(text string) string {
	var escaped strings.Builder
	for _, b := range []byte(text) {
		fmt.Fprintf(&escaped, "%%%02X", b)
	}
	return escaped.String()
}

func TestUnknownRoutesAreAnsweredByTheRouter(t *testing.T) {
	eachRouter(t, func(t *testing.T, h *host, i int) {
		alice := h.login(h.alicePair)
		require.Equal(t, 404, h.send("GET", "/auth/nothing", "", alice).StatusCode)
		answer := h.send("PUT", "/auth/keys", "", alice)
		require.Equal(t, 405, answer.StatusCode)
		allowed := strings.Split(strings.Join(answer.Header["Allow"], ", "), ", ")
		slices.Sort(allowed) // chi and gin list them in no order
		require.Equal(t, routers[i].allow, strings.Join(allowed, ", "))
		require.Equal(t, routers[i].head, h.send("HEAD", "/auth/user", "", alice).StatusCode)
		require.Equal(t, routers[i].slash, h.send("GET", "/auth/keys/", "", alice).StatusCode)
	})
}

func TestOverlongBodyIsRefused(t *testing.T) {
	eachRouter(t, func(t *testing.T, h *host, _ int) {
		body := loginBody(h.alicePair)
		answer := h.send("POST", "/auth/users/login", body+strings.Repeat(" ", 9<<10-len(body)))
		require.Equal(t, 413, answer.StatusCode)
		require.Equal(t, `{"detail":"Body must be at most 8 KiB long"}`+"\n", answer.body)
		require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
		h.login(h.alicePair)
	})
}

func TestStalledBodyTimesOut(t *testing.T) {
	eachRouter(t, func(t *testing.T, h *host, i int) {
		if !routers[i].slowBody {
			t.Skip("this router's server reads the body itself, and waits for its own ReadTimeout")
		}
		connection, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		require.NoError(t, err)
		defer connection.Close()
		fmt.Fprint(connection, "POST /auth/users/login HTTP/1.1\r\nHost: x\r\nContent-Type: "+
			"application/json\r\nContent-Length: 100\r\n\r\n{")
		require.NoError(t, connection.SetReadDeadline(time.Now().Add(8*time.Second)))
		answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
		require.NoError(t, err)
		defer answer.Body.Close()
		require.Equal(t, 408, answer.StatusCode)
	})
}

func TestHostPanicEndsOnlyOneRequest(t *testing.T) {
	eachRouter(t, func(t *testing.T, h *host, _ int) {
		alice := h.login(h.alicePair)
		for range 3 {
			require.Equal(t, 500, h.send("GET", "/panic", "", alice).StatusCode)
			require.Equal(t, "the reports of alice", h.send("GET", "/reports", "", alice).body)
		}
	})
}

// Some servers reuse the memory of a request for later requests.
func TestSessionKeepsTheUserAgentThatOpenedIt(t *testing.T) {
	eachRouter(t, func(t *testing.T, h *host, _ int) {
		const first, second = "the-first-browser/1.0", "a-second-browser/2.0"
		for _, agent := range []string{first, second} {
			r, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/auth/users/login",
				strings.NewReader(loginBody(h.alicePair)))
			require.NoError(t, err)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("User-Agent", agent)
			require.Equal(t, 200, h.do(r).StatusCode)
		}
		alice := "Bearer " + h.token(t, h.alice)
		for range 10 {
			require.Equal(t, 404, h.send("GET", "/"+strings.Repeat("x", 900), "", alice).StatusCode)
		}
		var sessions []struct {
			UserAgent string `json:"user_agent"`
			Address   string `json:"ip"`
		}
		answer := h.send("GET", "/auth/sessions", "", alice)
		require.Equal(t, 200, answer.StatusCode)
		answer.json(t, &sessions)
		agents := map[string]string{}
		for _, session := range sessions {
			agents[session.UserAgent] = session.Address
		}
		require.Equal(t, "127.0.0.1", agents[first], answer.body)
		require.Equal(t, "127.0.0.1", agents[second], answer.body)
	})
}

func TestFiberKeepsTheContextOfTheHost(t *testing.T) {
	t.Parallel()
	type key struct{}
	f := newFixture(t)
	app := fiberauth.New(f.svc)
	app.Use(func(c fiber.Ctx) error {
		c.SetContext(context.WithValue(c.Context(), key{}, "kept"))
		return c.Next()
	})
	app.Get("/kept", fiberauth.Use(f.svc.Authenticate), func(c fiber.Ctx) error {
		caller, _ := auth.IdentityFromContext(c.Context())
		return c.SendString(fmt.Sprint(c.Context().Value(key{}), " for ", caller.Username))
	})
	h := &host{fixture: f, t: t, url: serveFiber(t, app)}
	require.Equal(t, "kept for alice", h.send("GET", "/kept", "", h.login(f.alicePair)).body)
}
