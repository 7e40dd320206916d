package main

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePagesAreThoseOfTheConsole(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", newDatabase(t))
	for _, path := range []string{"/", "/keys", "/users"} {
		response, err := http.Get(p.url + path)
		require.NoError(t, err)
		page, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode, path)
		require.Contains(t, string(page), "<title>Sign in · Quickstart</title>", path)
	}
	for _, path := range []string{"/index.html", "/page.js", "/favicon.ico"} {
		require.Equal(t, http.StatusNotFound, statusFor(t, p, path, p.addr()), path)
	}
}
