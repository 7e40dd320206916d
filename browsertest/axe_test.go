package browsertest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// axe is axe-core, which finds mistakes that keep people from using a page. It comes from the npm registry,
// because it is larger than all other files of this module together.
const (
	axe       = "axe-core@4.14.1"
	axeSHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c" // of axe.min.js
)

var readAxe = sync.OnceValues(func() (string, error) {
	pack := exec.Command("npm", "pack", "--silent", axe)
	pack.Dir = tempDir
	name, err := pack.Output()
	if err != nil {
		return "", fmt.Errorf("npm pack %s: %w", axe, err)
	}
	file, err := os.Open(filepath.Join(tempDir, string(bytes.TrimSpace(name))))
	if err != nil {
		return "", err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return "", err
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if err != nil {
			return "", fmt.Errorf("looking for axe.min.js: %w", err)
		}
		if header.Name != "package/axe.min.js" {
			continue
		}
		script, err := io.ReadAll(files)
		if sum := sha256.Sum256(script); err == nil && hex.EncodeToString(sum[:]) != axeSHA256 {
			err = errors.New("axe.min.js is not the expected file")
		}
		return string(script), err
	}
})

func needAxe(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		testenv.Skip(t, "npm is not installed")
	}
}

// violations returns what axe-core finds on the open page, one line for each element.
func (b *tab) violations() []string {
	b.t.Helper()
	script, err := readAxe()
	require.NoError(b.t, err)
	// The script runs in a world of its own, so the policy of the page does not apply to it.
	tree, err := chromedp.Call(b.ctx, cdppage.GetFrameTree, cdp.Empty{})
	require.NoError(b.t, err)
	world, err := chromedp.Call(b.ctx, cdppage.CreateIsolatedWorld,
		cdppage.CreateIsolatedWorldParams{FrameID: tree.FrameTree.Frame.ID, WorldName: "axe"})
	require.NoError(b.t, err)
	result, err := chromedp.Call(b.ctx, runtime.Evaluate, runtime.EvaluateParams{
		ContextID: world.ExecutionContextID, AwaitPromise: new(true), ReturnByValue: new(true),
		Expression: script + `;
			axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
				.then((result) => result.violations.flatMap((violation) => violation.nodes.map((node) =>
					violation.id + ": " + node.target.join(" ") + ": " + (node.failureSummary ?? "").replace(/\s+/g, " "))).join("\n"))`,
	})
	require.NoError(b.t, err)
	require.Nil(b.t, result.ExceptionDetails)
	var found string
	require.NoError(b.t, json.Unmarshal(result.Result.Value, &found))
	return strings.FieldsFunc(found, func(r rune) bool { return r == '\n' })
}
