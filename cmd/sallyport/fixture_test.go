package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// binary is the built program.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

// buildAndRun builds the program, so that the tests run what an operator runs.
func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sallyport")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "sallyport")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// execute runs the program in a pipe, with the environment and the input, and requires its exit code.
func execute(t testing.TB, code int, env []string, input string, args ...string) (out, problem string) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(cleanEnv(), env...)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.Equal(t, code, exitCode(t, cmd.Run()), "%q\n%s%s", args, &stdout, &stderr)
	return stdout.String(), stderr.String()
}

// cleanEnv is the environment without the variables of the program.
func cleanEnv() []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SALLYPORT_") {
			env = append(env, variable)
		}
	}
	return env
}

func exitCode(t testing.TB, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "%v", err)
	return exit.ExitCode()
}

// newSQLite returns the environment for a new database file.
func newSQLite(t testing.TB) []string {
	t.Helper()
	return []string{"SALLYPORT_DSN=file:" + filepath.Join(t.TempDir(), "app.db")}
}

// execSQL runs statements on the database with the data source name.
func execSQL(t testing.TB, dsn string, statements ...string) {
	t.Helper()
	driver := "sqlite"
	switch {
	case strings.HasPrefix(dsn, "postgres"):
		driver = "pgx"
	case strings.Contains(dsn, "@tcp("):
		driver = "mysql"
	}
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	defer db.Close()
	for _, statement := range statements {
		_, err = db.ExecContext(context.Background(), statement)
		require.NoError(t, err)
	}
}
