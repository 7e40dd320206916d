// Package kubernetesauth serves a program with sign-in from the pods of a Kubernetes Deployment.
package kubernetesauth

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/keyfile"
)

const (
	readInterval = 10 * time.Second // how often FollowKeys reads the file
	grace        = 15 * time.Second // how long Serve waits for running requests at its end
)

// Handler returns a handler of the calls of the service, of /livez and /readyz for the probes, and of one
// route of the host.
func Handler(svc *auth.Service) http.Handler {
	mux := http.NewServeMux()
	svc.Mount(mux)
	svc.Mount(mux, auth.GroupHealth)
	mux.Handle("GET /hello", svc.Authenticate(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) })))
	return mux
}

// FollowKeys gives the service the signing keys of the file whenever they change, until ctx is done. If the
// file cannot be read or has an error, the service keeps its keys. The host starts FollowKeys in a goroutine.
//
// FollowKeys opens the path each time and keeps no file open: Kubernetes replaces a symbolic link in the path
// when the Secret changes.
func FollowKeys(ctx context.Context, svc *auth.Service, path string, log *slog.Logger) {
	tick := time.NewTicker(readInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		keys, err := keyfile.Read(path, log)
		if err == nil {
			err = svc.Tokens().SetKeys(keys.Signing) // changes nothing if the keys are the same
		}
		if err != nil {
			log.ErrorContext(ctx, "the service keeps its earlier signing keys", "error", err)
		}
	}
}

// Serve serves until ctx is done, which must happen when the process gets SIGTERM. Then it waits for the
// running requests. The background work ends last, because requests need it.
func Serve(
	ctx context.Context, svc *auth.Service, keys string, listener net.Listener, log *slog.Logger,
) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { svc.Run(working) })
	work.Go(func() { FollowKeys(working, svc, keys, log) })
	defer work.Wait()
	defer stop()

	server := &http.Server{Handler: Handler(svc), ReadTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		limited, cancel := context.WithTimeout(working, grace)
		defer cancel()
		stopped <- server.Shutdown(limited)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
