package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
)

const changes = `- (*Service).FeedAge: removed
- Stats.FeedRestarts: removed
- Store.Pong: added
- ./limit.NewMemory: changed from func(int) *Memory to func(int64) *Memory
- package github.com/sallyport-go/auth/limit: removed
`

const announced = "`Service.FeedAge`, `Stats.FeedRestarts` and package `limit` no longer exist.\n" +
	"Stores have `Pong`. `limit.NewMemory` takes an int64.\n"

func TestTheChangelogAnnouncesIncompatibleChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		changelog string
		missing   []string // texts in the error, or nil
	}{
		"under a heading":           {"## Unreleased\n### Breaking changes\n" + announced + "## 0.1.0\n", nil},
		"under a heading below":     {"## Unreleased\n### Breaking\n#### API\n" + announced + "## 0.1.0\n", nil},
		"in the notes of a release": {"## v0.2.0\n### Breaking\n" + announced + "## [0.1.0] - 2026-12-01\n", nil},
		"one of them is missing": {
			"## Unreleased\n### Breaking\n" + strings.ReplaceAll(announced, "FeedRestarts", "") + "## 0.1.0\n",
			[]string{"Stats.FeedRestarts: removed"},
		},
		"a longer name": {
			"## Unreleased\n### Breaking\n" + strings.ReplaceAll(announced, "Pong", "Pongs") + "## 0.1.0\n",
			[]string{"Store.Pong: added"},
		},
		"under another heading": {
			"## Unreleased\n### Breaking\nNothing.\n### Changed\n" + announced + "## 0.1.0\n",
			[]string{"FeedAge", "FeedRestarts", "Pong", "NewMemory", "auth/limit"},
		},
		"for an earlier release": {
			"## Unreleased\n### Added\n## 0.1.0\n### Breaking\n" + announced, []string{"FeedAge", "NewMemory"},
		},
		"not at all": {"## Unreleased\n## 0.1.0\n", []string{"FeedAge", "v0.1.0"}},
	} {
		file := filepath.Join(testenv.TempDir(t), "CHANGELOG.md")
		require.NoError(t, os.WriteFile(file, []byte(c.changelog), 0o600))
		err := run([]string{"v0.1.0", file}, strings.NewReader(changes))
		if c.missing == nil {
			require.NoError(t, err, name)
			continue
		}
		require.Error(t, err, name)
		for _, text := range c.missing {
			require.ErrorContains(t, err, text, name)
		}
		require.Equal(t, len(c.missing) == 1, strings.Count(err.Error(), "\n") == 1, name)
	}
}

func TestNoIncompatibleChangeNeedsNoAnnouncement(t *testing.T) {
	t.Parallel()
	file := filepath.Join(testenv.TempDir(t), "CHANGELOG.md")
	require.NoError(t, os.WriteFile(file, []byte("## Unreleased\n"), 0o600))
	require.NoError(t, run([]string{"v0.1.0", file}, strings.NewReader("")))
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(nil, strings.NewReader("")), "usage")
	require.ErrorIs(t, run([]string{"v0.1.0", "nowhere.md"}, strings.NewReader("")), os.ErrNotExist)
}
