package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
)

// openGitHub returns the configuration of the OAuth app that the environment variables name. If the
// variables are not set, openGitHub starts a fake GitHub, which the caller must close.
//
// With the fake, any visitor can sign in as any user, so the service must then be reachable only
// from this machine. The accounts of the fake are stored under a host name that cannot exist. An
// account of the real GitHub therefore never has the access rights of an account of the fake.
func openGitHub(
	listening net.Addr, origin string,
) (cfg auth.GitHubConfig, fake *githubtest.Server, err error) {
	id, secret := os.Getenv("GITHUB_CLIENT_ID"), os.Getenv("GITHUB_CLIENT_SECRET")
	cfg = auth.GitHubConfig{
		ClientID:      id,
		ClientSecret:  auth.NewSecret(secret),
		CallbackURL:   origin + "/api/v1/auth/github/callback",
		ConnectedPage: "/?connected",
	}
	switch {
	case id != "" && secret != "":
		return cfg, nil, nil
	case id != "" || secret != "":
		return cfg, nil,
			errors.New("set both GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, or neither for a fake GitHub")
	case !listening.(*net.TCPAddr).IP.IsLoopback():
		return cfg, nil,
			fmt.Errorf("%s is not a loopback address, and with the fake GitHub any visitor can sign in "+
				"as any user: "+
				"listen on 127.0.0.1, or set GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET", listening)
	}
	fake, err = githubtest.Start("", githubtest.Config{RedirectURLs: []string{cfg.CallbackURL}})
	if err != nil {
		return cfg, nil, err
	}
	id, secret = fake.Client()
	cfg.ClientID, cfg.ClientSecret = id, auth.NewSecret(secret)
	cfg.BaseURL, cfg.APIURL, cfg.Host = fake.URL(), fake.URL()+"/api/v3", "githubtest.invalid"
	return cfg, fake, nil
}

// originOf returns the URL at which a browser on this machine reaches the service. If the flag
// -addr names localhost, the URL also names localhost, because a browser sends a cookie only to the
// host name that set the cookie. The URL also names localhost if the service listens on all
// addresses of this machine.
func originOf(addr string, listening net.Addr) string {
	tcp := listening.(*net.TCPAddr)
	host := tcp.IP.String()
	if name, _, _ := net.SplitHostPort(addr); tcp.IP.IsUnspecified() ||
		strings.EqualFold(name, "localhost") {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

// loopbackOnly responds with status 421 if the Host header names another machine. Such a request
// can come from a web page that uses DNS rebinding: the host name of the page resolves to a
// loopback address. The Host header then has the host name of the page.
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			answer(w, http.StatusMisdirectedRequest, map[string]string{
				"detail": "With the fake GitHub this service answers to loopback addresses only",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopback reports whether a Host header names this machine, with any port.
func isLoopback(hostport string) bool {
	host := (&url.URL{Host: hostport}).Hostname()
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}
