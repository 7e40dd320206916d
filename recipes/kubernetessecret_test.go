package recipes_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/keyfile"
	"github.com/sallyport-go/auth/memstore"
)

// kubernetesBlock returns the block of docs/kubernetes.md that the expression finds.
func kubernetesBlock(t *testing.T, expression string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/kubernetes.md")
	require.NoError(t, err)
	block := regexp.MustCompile(expression).FindSubmatch(page)
	require.NotNil(t, block, expression)
	return string(block[1])
}

// runShell runs the script in the directory.
func runShell(t *testing.T, dir, script string) {
	t.Helper()
	command := exec.Command("sh", "-c", "set -e\n"+script)
	command.Dir = dir
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
}

// TestTheShellMakesAKeyFile runs the block "run: kubernetes-keys".
func TestTheShellMakesAKeyFile(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	runShell(t, dir, kubernetesBlock(t, "(?s)<!-- run: kubernetes-keys -->\n```sh\n(.*?)```"))
	path := filepath.Join(dir, "app.keys")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1, "the private key is in no other file")
	keys, err := keyfile.Read(path, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.False(t, keys.CreatedAt(keys.Signing[0].Info()).IsZero())
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer: "https://app.example.com", SigningKeys: keys.Signing, SealingKeys: keys.Sealing,
		Credentials: auth.CredentialConfig{Peppers: keys.Peppers}, Proxies: auth.NoProxies()})
	require.NoError(t, err)
	made, err := svc.Register(t.Context(), auth.ByHost("test"), auth.UserParams{Username: "ada"})
	require.NoError(t, err)
	_, err = svc.Login(t.Context(), made.Pair, auth.LoginOptions{})
	require.NoError(t, err)
}

// The lines of the page that call kubectl need a cluster. The others make the patch.
func TestThePatchOfTheSecretReplacesTheKeyFileOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content := strings.Repeat("{\"signing_keys\": []}\n", 100) // more than one line of base64
	require.NoError(t, os.WriteFile(filepath.Join(dir, "app.keys"), []byte(content), 0o600))
	block := kubernetesBlock(t, "(?s)```text\n(umask 077\nkubectl get secret .*?)```")
	require.Contains(t, block, "kubectl patch secret app --patch-file patch.json\n")
	runShell(t, dir, regexp.MustCompile(`(?m)^(kubectl|rm) .*$`).ReplaceAllString(block, ""))
	patch, err := os.ReadFile(filepath.Join(dir, "patch.json"))
	require.NoError(t, err)
	var secret corev1.Secret
	require.NoError(t, json.Unmarshal(patch, &secret))
	require.Equal(t, map[string][]byte{"app.keys": []byte(content)}, secret.Data)
}
