// Package grpcauth identifies the callers of gRPC services. A client signs in over HTTP and gets a
// token. The client sends the token in each gRPC call as the metadata "authorization: Bearer …".
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

// Scopes names the scope of each method that limited tokens may call, such as
// "/reports.Reports/Get": "reports:read". All other methods refuse limited tokens.
type Scopes map[string]string

// Unary returns an interceptor that identifies the caller of each call, or rejects the call. The
// interceptor stores the caller's identity in the context of the handler.
// [auth.IdentityFromContext], [auth.Service.User] and [auth.Service.SuperUser] read the identity
// from there.
func Unary(svc *auth.Service, scopes Scopes) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any,
		error) {
		ctx, err := identify(ctx, svc, scopes, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, request)
	}
}

// Stream is like [Unary], for streams. The interceptor identifies the caller only when the stream
// is opened. If the token expires or the session is revoked after that, the stream continues. A
// handler can end the stream at ExpiresAt of the caller's [auth.Identity]. A handler can also end
// the stream from time to time, so that the client must open a new one.
func Stream(svc *auth.Service, scopes Scopes) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo,
		handler grpc.StreamHandler) error {
		ctx, err := identify(stream.Context(), svc, scopes, info.FullMethod)
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

// request returns an HTTP request with the data that the library needs from the gRPC call: the
// token, and the client data for events. If a metadata key has several values, the HTTP request has
// all of them. So the library refuses a call with more than one token.
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

func identify(ctx context.Context, svc *auth.Service, scopes Scopes, method string) (context.Context, error) {
	called, err := svc.IdentifyContext(request(ctx))
	if err != nil {
		return nil, Failure(ctx, err)
	}
	caller, _ := auth.IdentityFromContext(called)
	if err := caller.CheckScope(scopes[method]); err != nil { // only a limited token can lack a scope
		return nil, Failure(ctx, err)
	}
	return called, nil
}

// Failure converts an error of the library to a gRPC error. The message is the same as over HTTP. A
// handler that calls [auth.Service.SuperUser] can use Failure too.
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
	// The client cannot solve this problem, so the error goes to the operator's log.
	slog.ErrorContext(ctx, "a caller could not be identified", "error", err)
	return status.Error(codes.Unavailable, detail)
}
