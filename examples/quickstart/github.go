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

// openGitHub returns the OAuth app that the environment names or, where it names
// none, starts a fake GitHub, which the caller closes.
//
// The fake lets anybody in as anybody. So with it the service is for this machine
// alone, and its accounts are remembered under a host that nobody can own: no
// account at GitHub ever inherits what they have here.
func openGitHub(listening net.Addr, origin string) (cfg auth.GitHubConfig, fake *githubtest.Server, err error) {
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
		return cfg, nil, errors.New("set both GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, or neither for a fake GitHub")
	case !listening.(*net.TCPAddr).IP.IsLoopback():
		return cfg, nil, fmt.Errorf("%s is not a loopback address, and the fake GitHub lets anybody in as anybody: "+
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

// originOf returns the URL of the service for a browser on this machine. It has
// localhost in it if -addr does: a cookie for one name of a machine is not sent
// to another.
func originOf(addr string, listening net.Addr) string {
	tcp := listening.(*net.TCPAddr)
	host := tcp.IP.String()
	if name, _, _ := net.SplitHostPort(addr); tcp.IP.IsUnspecified() || strings.EqualFold(name, "localhost") {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

// loopbackOnly answers 421 to requests for any other host. A page elsewhere
// reaches a loopback address by having its own name resolve to it (DNS
// rebinding); the name is then in the Host header.
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
