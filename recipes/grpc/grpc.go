// Package grpcauth tells gRPC services who is calling. Signing in stays a call over
// HTTP; its token comes as the metadata "authorization: Bearer …".
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

// Unary lets calls through that the service identifies, with the caller in their
// context for [auth.IdentityFromContext], [auth.Service.User] and
// [auth.Service.SuperUser].
func Unary(svc *auth.Service) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := identify(ctx, svc)
		if err != nil {
			return nil, err
		}
		return handler(ctx, request)
	}
}

// Stream is Unary for streams. A stream is identified when it is opened, and goes on
// when its token has expired or its session was revoked: a handler that must not looks
// at ExpiresAt of the caller, or ends the stream from time to time.
func Stream(svc *auth.Service) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
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

// request is the call as a request over HTTP with the same header, for the token and, in
// events, for who sent it. All values are passed on: more than one token is refused.
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

// Failure is the answer to an error of the service's, with the same sentence as over
// HTTP: for handlers, too, that ask [auth.Service.SuperUser].
func Failure(ctx context.Context, err error) error {
	if ctx.Err() != nil { // the client has gone, or its time is over
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
	slog.ErrorContext(ctx, "a caller could not be identified", "error", err) // the operator's to mend
	return status.Error(codes.Unavailable, detail)
}
