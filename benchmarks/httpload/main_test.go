package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain runs a server if httpload has started this test binary as its server process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-"+serveFlag {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestAllServersAreAsked(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(),
		[]string{"-rounds", "1", "-time", "50ms", "-connections", "2", "-tokens", "3"}, &out))
	t.Log("\n" + out.String())
	for _, variant := range variants {
		require.Regexp(t, `(?m)^ *`+variant+` +[1-9]\d* +\d+\.\d %( +\d\S+s){3}$`, out.String())
	}
}

func TestTheLoadIsBounded(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-rounds", "101"}, {"-time", "1m"}, {"-time", "0s"},
		{"-connections", "0"}, {"-connections", "257"}, {"-tokens", "0"}, {"-tokens", "10001"},
	} {
		require.ErrorContains(t, run(t.Context(), args, new(bytes.Buffer)), "must be from", "%v", args)
	}
	require.ErrorContains(t, run(t.Context(), []string{"-" + serveFlag, "nobody"},
		new(bytes.Buffer)), "no variant")
}
