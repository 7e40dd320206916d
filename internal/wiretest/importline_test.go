package wiretest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestAnImportRejectsEachInvalidLineWithAReason(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	i.mustImport(line("taken"))
	key := fmt.Sprintf(`{"access_key":"canary-key","hash":%q}`, bcrypted)
	for bad, want := range map[string]string{
		`canary`:                               "line must be one JSON object",
		`["canary"]`:                           "line must be one JSON object",
		`null`:                                 "line must be one JSON object",
		line("canary") + line("x"):             "line must be one JSON object",
		"\ufeff\ufeff" + line("canary"):        "line must be one JSON object",
		"\xff\xfe{\x00\"\x00":                  "line must be UTF-8 text without NUL",
		"{\"username\":\"canary\xff\"}":        "line must be UTF-8 text without NUL",
		`{"username":"canary\u0000"}`:          "line must be UTF-8 text without NUL",
		`{"username":"a","username":"canary"}`: "line must not have a field twice",
		`{"Username":"canary"}`:                "line must have field names in lower case",
		`{"username":"canary","role":"admin","keys":[` + key + `]}`:                                                                   "line must have no fields but username, email, user_id, is_active, is_super_user, is_service, audiences, created_at, keys",
		`{"username":null,"keys":[` + key + `]}`:                                                                                      "line must not have null for a field: leave the field out",
		`{"keys":[` + key + `]}`:                                                                                                      "username is required",
		`{"username":"","keys":[` + key + `]}`:                                                                                        "username must not be empty",
		`{"username":7,"keys":[` + key + `]}`:                                                                                         "username must be a string",
		`{"username":" canary","keys":[` + key + `]}`:                                                                                 "username must not begin or end with a space",
		`{"username":"canary\u202e","keys":[` + key + `]}`:                                                                            "username must not have control or bidirectional characters",
		`{"username":"canary","email":"canary","keys":[` + key + `]}`:                                                                 "email must be an e-mail address",
		`{"username":"canary","user_id":"..","keys":[` + key + `]}`:                                                                   "user_id must not be a word that paths have in its place",
		`{"username":"canary","user_id":"register","keys":[` + key + `]}`:                                                             "user_id must not be a word that paths have in its place",
		`{"username":"canary","user_id":".","keys":[` + key + `]}`:                                                                    "user_id must not be a word that paths have in its place",
		`{"username":"canary","user_id":"login","keys":[` + key + `]}`:                                                                "user_id must not be a word that paths have in its place",
		`{"username":"canary","user_id":"a/b","keys":[` + key + `]}`:                                                                  `user_id must be of visible ASCII characters without / \ ? # and %`,
		`{"username":"canary","user_id":"é","keys":[` + key + `]}`:                                                                    `user_id must be of visible ASCII characters without / \ ? # and %`,
		`{"username":"canary","user_id":"` + strings.Repeat("x", 65) + `","keys":[` + key + `]}`:                                      "user_id must be at most 64 bytes long",
		`{"username":"canary","is_active":"yes","keys":[` + key + `]}`:                                                                "is_active must be true or false",
		`{"username":"canary","is_super_user":true,"keys":[` + key + `]}`:                                                             "is_super_user must not be true: promote the user afterwards, knowingly",
		`{"username":"canary","created_at":"canary","keys":[` + key + `]}`:                                                            "created_at must be a time such as 2030-01-02T03:04:05Z",
		`{"username":"canary","created_at":"2027-01-01T00:00:00Z","keys":[` + key + `]}`:                                              "created_at must not be in the future",
		`{"username":"canary"}`:                                                                                                       "keys must be an array of 1 to 100 keys",
		`{"username":"canary","keys":[]}`:                                                                                             "keys must be an array of 1 to 100 keys",
		`{"username":"canary","keys":{}}`:                                                                                             "keys must be an array of 1 to 100 keys",
		`{"username":"canary","keys":[` + strings.Repeat(key+",", 100) + key + `]}`:                                                   "keys must be an array of 1 to 100 keys",
		`{"username":"canary","keys":["canary"]}`:                                                                                     "keys must be one JSON object",
		`{"username":"canary","keys":[{"access_key":"a","access_key":"canary"}]}`:                                                     "keys must not have a field twice",
		`{"username":"canary","keys":[{"access_key":"a","secret":"canary"}]}`:                                                         "keys must have no fields but access_key, hash, sha256, label, created_at, expires_at, scopes",
		`{"username":"canary","keys":[` + key + `,` + key + `]}`:                                                                      "access_key must not be given twice",
		`{"username":"canary","keys":[{"access_key":"canary"}]}`:                                                                      "keys must have hash or sha256 each, and not both",
		`{"username":"canary","keys":[{"access_key":"canary","hash":"` + bcrypted + `","sha256":"` + strings.Repeat("0", 64) + `"}]}`: "keys must have hash or sha256 each, and not both",
		`{"username":"canary","keys":[{"access_key":"canary","hash":"canary"}]}`:                                                      "hash must be bcrypt ($2a$, $2b$ or $2y$) or argon2id ($argon2id$)",
		`{"username":"canary","keys":[{"access_key":"canary","hash":"$2b$31$` + bcrypted[7:] + `"}]}`:                                 "hash must be a complete bcrypt hash: $2a$, $2b$ or $2y$, cost 10 to 13, 60 characters, no bits set after the checksum",
		`{"username":"canary","keys":[{"access_key":"canary","hash":"$sha256$v=1$` + strings.Repeat("A", 43) + `"}]}`:                 "hash must be bcrypt ($2a$, $2b$ or $2y$) or argon2id ($argon2id$)",
		`{"username":"canary","keys":[{"access_key":"canary","sha256":"` + strings.Repeat("0", 64) + `"}]}`:                           "sha256 is taken only where VouchForSHA256 is set",
		`{"username":"canary","keys":[{"access_key":"ak_live_canary","hash":"` + bcrypted + `"}]}`:                                    "access_key must not begin like a generated one",
		`{"username":"canary","keys":[{"access_key":"canary","hash":"` + bcrypted + `","expires_at":"2025-01-01T00:00:00Z"}]}`:        "expires_at must be in the future",
		`{"username":"canary","keys":[{"access_key":"canary","hash":"` + bcrypted + `","created_at":"2027-01-01T00:00:00Z"}]}`:        "created_at must not be in the future",
		`{"username":"canary","keys":[{"access_key":"` + strings.Repeat("x", 129) + `","hash":"` + bcrypted + `"}]}`:                  "access_key must be at most 128 bytes long",
		`{"username":"canary","keys":[{"access_key":"canary","hash":"` + bcrypted + `","label":"` + strings.Repeat("x", 257) + `"}]}`: "label must be at most 256 bytes long",
		`{"username":"canary","email":"` + strings.Repeat("x", 140_000) + `"}`:                                                        "line must be at most 131072 bytes long",
		`{"username":"TAKEN","keys":[` + key + `]}`:                                                                                   "username is taken",
		`{"username":"canary","email":"TAKEN@example.com","keys":[` + key + `]}`:                                                      "email is taken",
		`{"username":"canary","keys":[` + key + `,{"access_key":"key-taken","hash":"` + bcrypted + `"}]}`:                             "access_key is taken",
		`{"username":"canary","keys":[{"access_key":"canary","hash":"` + bcrypted + `","expires_at":"0001-01-01T00:00:00Z"}]}`:        "expires_at must be a time such as 2030-01-02T03:04:05Z",
		`{"username":"canary","keys":[{"access_key":"key-taken","hash":"` + bcrypted + `"}]}`:                                         "access_key is taken",
		`{"username":"canary","user_id":"a b","keys":[` + key + `]}`:                                                                  `user_id must be of visible ASCII characters without / \ ? # and %`,
		`{"username":"canary","user_id":"` + i.users()["taken"].ID + `","keys":[` + key + `]}`:                                        "user_id is taken",
		`{"username":"taken","keys":[{"access_key":"key-taken","hash":"` + bcrypted + `"},` + key + `]}`:                              "username is taken",
		`{"username":"taken","user_id":"another","keys":[{"access_key":"key-taken","hash":"` + bcrypted + `"}]}`:                      "username is taken",
	} {
		progress, err := i.importLines(line("before"), bad, line("after"))
		require.NoError(t, err, bad)
		require.Equal(t, 1, progress.Rejected, bad)
		require.Equal(t, 3, progress.Lines)
		rejected := i.rejected.Take()
		require.Len(t, rejected, 1, bad)
		require.Equal(t, 2, rejected[0].Line)
		require.EqualError(t, rejected[0].Err, "auth: "+want, bad)
		require.NotContains(t, rejected[0].Err.Error(), "canary")
		status, _ := auth.ErrorStatus(rejected[0].Err)
		require.Contains(t, []int{409, 422}, status, "the error has a documented status")
	}
	require.Len(t, i.users(), 3)
	require.NotContains(t, i.log.String(), "canary")
}

// Windows PowerShell begins a UTF-8 file with a byte order mark. Joining such files puts a mark in
// front of later lines, too.
func TestAnImportIgnoresAByteOrderMarkBeforeALine(t *testing.T) {
	t.Parallel()
	longest := line("longest")
	longest += strings.Repeat(" ", 128<<10-len(longest))
	for name, text := range map[string]string{
		"first line":         "\ufeff" + line("a") + "\n" + line("b") + "\n",
		"CRLF":               "\ufeff" + line("a") + "\r\n" + line("b") + "\r\n",
		"each file's first":  "\ufeff" + line("a") + "\n\ufeff" + line("b"),
		"on its own line":    "\ufeff\n" + line("a") + "\n" + line("b"),
		"a line of 128 KiB":  "\ufeff" + longest + "\r\n" + line("b"),
		"space after a mark": "\ufeff " + line("a") + "\n" + line("b"),
	} {
		i := newImporting(t)
		progress := i.mustImport(text)
		require.Equal(t, 2, progress.Added, name)
		require.Equal(t, int64(len(text)+len("\n")), progress.Bytes, "the mark counts as part of the file")
	}
}

func TestTheExampleLineOfTheImportGuideIsImported(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/import.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "```json\n")
	require.True(t, found)
	block, _, _ := strings.Cut(rest, "```")
	line := strings.ReplaceAll(strings.ReplaceAll(block, "\n", " "), "$2b$12$…", bcrypted)
	i := newImporting(t)
	require.Equal(t, 1, i.mustImport(line).Added)
	require.Equal(t, "42", i.users()["ada"].ID)

	// The guide's table lists every field of a line.
	for _, with := range []string{`"unknown":1`, `"keys":[{"unknown":1}],"username":"x"`} {
		_, err := i.importLines("{" + with + "}")
		require.NoError(t, err)
		_, fields, _ := strings.Cut(i.rejected.Take()[0].Err.Error(), "must have no fields but ")
		for field := range strings.SplitSeq(fields, ", ") {
			require.Regexp(t, "\n\\|[^|]*`"+field+"`", string(page))
		}
	}
}

// FuzzImportLine imports arbitrary lines. If a line is rejected, the error is a documented one.
// Otherwise the line creates an ordinary user with keys.
func FuzzImportLine(f *testing.F) {
	for _, seed := range []string{
		line("a"), `{}`,
		`{"username":"a","keys":[{"access_key":"k","sha256":"` + strings.Repeat("0", 64) + `"}]}`,
		`{"username":"a","user_id":"1","is_active":false,"is_super_user":true,"created_at":"2020-01-02T03:04:05Z","keys":[]}`,
		`{"username":"a","keys":[{"access_key":"k","hash":"` + bcrypted + `","label":"l","expires_at":"2030-01-02T03:04:05Z"},{}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		i := newImporting(t)
		options := i.options()
		options.VouchForSHA256 = true
		progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost,
			strings.NewReader(string(data)), options)
		require.NoError(t, err)
		require.Equal(t, int64(len(data)), progress.Bytes)
		rejected := i.rejected.Take()
		require.Len(t, rejected, progress.Rejected)
		for _, line := range rejected {
			require.True(t, errors.Is(line.Err, auth.ErrInvalid) || errors.Is(line.Err, auth.ErrExists))
		}
		users := i.users()
		require.Len(t, users, progress.Added)
		for _, user := range users {
			require.NoError(t, user.Validate())
			require.False(t, user.IsSuperUser)
			keys, err := i.svc.Credentials().List(t.Context(), user.ID)
			require.NoError(t, err)
			require.NotEmpty(t, keys)
		}
	})
}
