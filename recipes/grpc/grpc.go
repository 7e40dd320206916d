// Package grpcauth identifies the callers of gRPC services. Sign-in remains a call over HTTP. A
// gRPC client sends the token of that sign-in as the metadata "authorization: Bearer …".
package grpcauth

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/sallyport-go/auth"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Unary returns an interceptor that rejects calls whose caller the service cannot identify. The
// handler's context holds the caller's identity, which [auth.IdentityFromContext],
// [auth.Service.User] and [auth.Service.SuperUser] read.
func Unary(svc *auth.Service) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any,
		error) {
		ctx, err := identify(ctx, svc)
		if err != nil {
			return nil, err
		}
		return handler(ctx, request)
	}
}

// Stream is Unary for streams. The caller of a stream is identified when the stream is opened. The
// stream continues after the token has expired or the session was revoked. If a handler must not
// continue then, it must check ExpiresAt of the caller, or end the stream from time to time.
func Stream(svc *auth.Service) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo,
		handler grpc.StreamHandler) error {
		ctx, err := identify(stream.Context(), svc)
		if err != nil {
			return err
		}
		return handler(server, &identified{stream, ctx})
	}
}

type identified struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *identified) Context() context.Context { return s.ctx }

// request returns the call as an HTTP request with the same headers. The headers contain the token,
// and the data about the client that events record. All values of a header are passed on, so that a
// call with more than one token is refused.
func request(ctx context.Context) *http.Request {
	r := &http.Request{Header: http.Header{}}
	for _, name := range []string{"Authorization", "User-Agent", "X-Request-Id", "X-Forwarded-For"} {
		r.Header[name] = metadata.ValueFromIncomingContext(ctx, name)
	}
	if from, ok := peer.FromContext(ctx); ok {
		r.RemoteAddr = from.Addr.String()
	}
	return r.WithContext(ctx)
}

func identify(ctx context.Context, svc *auth.Service) (context.Context, error) {
	called, err := svc.IdentifyContext(request(ctx))
	if err != nil {
		return nil, Failure(ctx, err)
	}
	return called, nil
}

// Failure converts an error of the service to a gRPC error with the same sentence as over HTTP.
// Handlers that call [auth.Service.SuperUser] can use it too.
func Failure(ctx context.Context, err error) error {
	if ctx.Err() != nil { // the client has disconnected, or its deadline has passed
		return status.FromContextError(ctx.Err()).Err()
	}
	code, detail := auth.ErrorStatus(err)
	switch code {
	case http.StatusUnauthorized:
		return status.Error(codes.Unauthenticated, detail)
	case http.StatusForbidden:
		return status.Error(codes.PermissionDenied, detail)
	case http.StatusTooManyRequests:
		return status.Error(codes.ResourceExhausted, detail)
	}
	// Only the operator can solve this problem, so it goes to the log.
	slog.ErrorContext(ctx, "a caller could not be identified", "error", err)
	return status.Error(codes.Unavailable, detail)
}
