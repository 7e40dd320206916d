package browsertest

import (
	"bytes"
	"flag"
	"image/png"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "make the images of README.md again")

const (
	images       = "../docs/images"
	maxImageSize = 150 << 10 // bytes, because every visitor of the page loads an image
)

// TestTheReadmeShowsTheConsole checks the images of the README. With -update, it makes them first.
func TestTheReadmeShowsTheConsole(t *testing.T) {
	if *update {
		makeImages(t)
	}
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	for _, scheme := range []string{"light", "dark"} {
		name := "console-" + scheme + ".png"
		require.Contains(t, string(readme), "docs/images/"+name)
		file, err := os.Open(filepath.Join(images, name))
		require.NoError(t, err)
		defer file.Close()
		info, err := file.Stat()
		require.NoError(t, err)
		require.Less(t, info.Size(), int64(maxImageSize), name)
		image, err := png.DecodeConfig(file)
		require.NoError(t, err)
		require.EqualValues(t, imageWidth*imageScale, image.Width, name)
		require.EqualValues(t, imageHeight*imageScale, image.Height, name)
	}
}

// The size of the window in an image, and the pixels of the image for each pixel of the window.
const (
	imageWidth  = 1280
	imageHeight = 460
	imageScale  = 1.5
)

// makeImages makes an image of the page of access keys in each color scheme. The data is always the same. The
// fonts are those of the machine.
func makeImages(t *testing.T) {
	var ago atomic.Int64 // how long before the present time the service is
	h := startHost(t, "ada", console.Config{Name: "Notes", Scopes: scopeChoices}, func(cfg *auth.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(-time.Duration(ago.Load())) }
	})
	laptop := addKeys(t, h, &ago)
	require.NoError(t, os.MkdirAll(images, 0o777))
	for _, scheme := range []string{"light", "dark"} {
		b := newBrowser(t)
		b.look(imageWidth, scheme)
		b.do(chromedp.EmulateViewport(imageWidth, imageHeight, chromedp.EmulateScale(imageScale)))
		b.signIn(h, laptop, "/keys")
		shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		require.NoError(t, err)
		shot = compressed(t, shot)
		require.NoError(t, os.WriteFile(filepath.Join(images, "console-"+scheme+".png"), shot, 0o666))
	}
}

// compressed returns a smaller file of the same image, because the browser compresses fast.
func compressed(t *testing.T, shot []byte) []byte {
	t.Helper()
	decoded, err := png.Decode(bytes.NewReader(shot))
	require.NoError(t, err)
	var small bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	require.NoError(t, encoder.Encode(&small, decoded))
	return small.Bytes()
}

// addKeys replaces the first access key by keys that were made and used at different times. It returns the
// last of them.
func addKeys(t *testing.T, h *host, ago *atomic.Int64) (last auth.KeyPair) {
	t.Helper()
	const day = 24 * time.Hour
	ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{Address: netip.MustParseAddr("192.0.2.7")})
	for _, key := range []struct {
		label      string
		scopes     []string
		made, used time.Duration // how long ago; a key with used 0 was never used
		expires    bool
	}{
		{label: "nightly backup", scopes: []string{"notes:read"}, made: 80 * day, used: 5 * time.Hour, expires: true},
		{label: "CI of the web site", scopes: []string{"notes:read", "notes:write"}, made: 41 * day, used: 3 * day, expires: true},
		{label: "dashboard", scopes: []string{"notes:read"}, made: 12 * day, expires: true},
		{label: "laptop", made: 2 * day, used: 20 * time.Minute},
	} {
		ago.Store(int64(key.made))
		options := auth.KeyOptions{Label: key.label}
		if key.scopes != nil {
			options.Scopes = auth.NewScopes(key.scopes...)
		}
		if key.expires {
			options.ExpiresAt = time.Now().Add(-key.made + 90*day)
		}
		pair, err := h.svc.Credentials().Issue(ctx, auth.ByHost("test"), h.admin.ID, options)
		require.NoError(t, err)
		if key.used > 0 {
			ago.Store(int64(key.used))
			_, err = h.svc.Login(ctx, pair, auth.LoginOptions{})
			require.NoError(t, err)
		}
		last = pair
	}
	ago.Store(0)
	require.NoError(t, h.svc.Credentials().Revoke(ctx, auth.ByHost("test"), h.pair.AccessKey))
	return last
}
