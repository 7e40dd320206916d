package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport-go/auth"
)

// lines writes a file with three valid lines and two lines that must be rejected, and returns its
// name.
func lines(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), 10)
	require.NoError(t, err)
	var text strings.Builder
	for _, name := range []string{"ada", "bob", "eve"} {
		fmt.Fprintf(&text, `{"username":%q,"keys":[{"access_key":"legacy-%s","hash":%q}]}`+"\n",
			name, name, hash)
	}
	return text.String() + `{"username":"ADA","keys":[{"access_key":"another","hash":"` + string(hash) +
		`"}]}` + "\n" +
		`{"username":"root","is_super_user":true}` + "\n"
}

func TestTheProgramImportsAndSaysWhatItRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, database := filepath.Join(dir, "users.jsonl"), "file:"+filepath.Join(dir, "app.db")
	require.NoError(t, os.WriteFile(file, []byte(lines(t)), 0o600))
	for round, want := range []string{"3 users added, 0 were there, 2 lines refused",
		"0 users added, 3 were there, 2 lines refused"} {
		var stdout, stderr bytes.Buffer
		name := []string{database, database + "?mode=rw"}[round]
		err := run(t.Context(), []string{"-batch", "2", file}, name, &stdout, &stderr)
		require.ErrorContains(t, err, "run the same command again", round)
		require.Equal(t, file+":4: username is taken\n"+
			file+":5: is_super_user must not be true: promote the user afterwards, knowingly\n",
			stdout.String())
		require.Contains(t, stderr.String(), want)
		require.Contains(t, stderr.String(), "100%")
	}
	svc, closeDatabase, err := open(t.Context(), database)
	require.NoError(t, err)
	defer closeDatabase()
	ada := auth.KeyPair{AccessKey: "legacy-ada", AccessSecret: auth.NewSecret("correct horse")}
	token, err := svc.Login(t.Context(), ada, auth.LoginOptions{})
	require.NoError(t, err)
	require.Equal(t, "ada", token.User.Username)
}

func TestProgramExplainsMissingArguments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	database := "file:" + filepath.Join(dir, "app.db")
	for want, call := range map[string]func() error{
		"name one file":    func() error { return run(t.Context(), nil, database, io.Discard, io.Discard) },
		"set DATABASE_URL": func() error { return run(t.Context(), []string{"x"}, "", io.Discard, io.Discard) },
		"no such file": func() error {
			return run(t.Context(), []string{filepath.Join(dir, "x")}, database, io.Discard, io.Discard)
		},
		"flag provided but": func() error { return run(t.Context(), []string{"-x"}, database, io.Discard, io.Discard) },
		"context canceled": func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return run(ctx, []string{os.Args[0]}, database, io.Discard, io.Discard)
		},
	} {
		require.ErrorContains(t, call(), want)
	}
}
