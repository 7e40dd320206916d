package recipes_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	grpcauth "github.com/sallyport-go/auth/recipes/grpc"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// reports describes a gRPC service, like code that protoc generates. The method Mine returns a text
// with the name of the caller. The stream Watch returns the same text for each message that it
// receives.
var reports = grpc.ServiceDesc{
	ServiceName: "test.Reports",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Mine",
		Handler: func(server any, ctx context.Context, decode func(any) error,
			interceptor grpc.UnaryServerInterceptor) (any, error) {
			in := new(emptypb.Empty)
			if err := decode(in); err != nil {
				return nil, err
			}
			info := &grpc.UnaryServerInfo{Server: server, FullMethod: "/test.Reports/Mine"}
			return interceptor(ctx, in, info, func(ctx context.Context, _ any) (any, error) {
				return whose(ctx)
			})
		},
	}, {
		MethodName: "Purge",
		Handler: func(server any, ctx context.Context, decode func(any) error,
			interceptor grpc.UnaryServerInterceptor) (any, error) {
			in := new(emptypb.Empty)
			if err := decode(in); err != nil {
				return nil, err
			}
			info := &grpc.UnaryServerInfo{Server: server, FullMethod: "/test.Reports/Purge"}
			return interceptor(ctx, in, info, func(ctx context.Context, _ any) (any, error) {
				if _, err := server.(*auth.Service).SuperUser(ctx); err != nil {
					return nil, grpcauth.Failure(ctx, err)
				}
				return wrapperspb.String("all gone"), nil
			})
		},
	}},
	Streams: []grpc.StreamDesc{{
		StreamName: "Watch", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			for {
				if err := stream.RecvMsg(new(emptypb.Empty)); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				answer, err := whose(stream.Context())
				if err == nil {
					err = stream.SendMsg(answer)
				}
				if err != nil {
					return err
				}
			}
		},
	}},
}

// scopes has no element for Purge, so that limited tokens cannot call it.
var scopes = grpcauth.Scopes{"/test.Reports/Mine": "reports:read", "/test.Reports/Watch": "reports:read"}

type traceKey struct{}

func whose(ctx context.Context) (*wrapperspb.StringValue, error) {
	caller, ok := auth.IdentityFromContext(ctx)
	trace, _ := ctx.Value(traceKey{}).(string)
	if !ok {
		return nil, status.Error(codes.Internal, "no caller")
	}
	return wrapperspb.String(trace + "the reports of " + caller.Username), nil
}

// traced is the stream of an interceptor that sets a context of its own.
type traced struct {
	grpc.ServerStream
	ctx context.Context
}

func (s traced) Context() context.Context { return s.ctx }

func trace(ctx context.Context) context.Context {
	return context.WithValue(ctx, traceKey{}, "traced: ")
}

func traceUnary(
	ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	return handler(trace(ctx), request)
}

func traceStream(
	server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler,
) error {
	return handler(server, traced{stream, trace(stream.Context())})
}

// dial starts a server with these options and connects to it.
func dial(t *testing.T, svc *auth.Service, options ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	server := grpc.NewServer(options...)
	server.RegisterService(&reports, svc)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	connection, err := grpc.NewClient(listener.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { connection.Close() })
	return connection
}

func dialProtected(t *testing.T, f *fixture) *grpc.ClientConn {
	t.Helper()
	return dial(t, f.svc, grpc.ChainUnaryInterceptor(grpcauth.Unary(f.svc, scopes)),
		grpc.ChainStreamInterceptor(grpcauth.Stream(f.svc, scopes)))
}

func invoke(ctx context.Context, connection *grpc.ClientConn, method string) (string, error) {
	answer := new(wrapperspb.StringValue)
	err := connection.Invoke(ctx, "/test.Reports/"+method, new(emptypb.Empty), answer)
	return answer.Value, err
}

func mine(ctx context.Context, connection *grpc.ClientConn) (string, error) {
	return invoke(ctx, connection, "Mine")
}

// watch opens a stream. The returned function sends a message on the stream and returns the
// response.
func watch(ctx context.Context, connection *grpc.ClientConn) func() (string, error) {
	stream, err := connection.NewStream(ctx, &reports.Streams[0], "/test.Reports/Watch")
	return func() (string, error) {
		if err != nil {
			return "", err
		}
		answer := new(wrapperspb.StringValue)
		// If SendMsg returns io.EOF, RecvMsg returns the reason.
		if err := stream.SendMsg(new(emptypb.Empty)); err != nil && err != io.EOF {
			return "", err
		}
		err := stream.RecvMsg(answer)
		return answer.Value, err
	}
}

func watchOnce(ctx context.Context, connection *grpc.ClientConn) (string, error) {
	return watch(ctx, connection)()
}

// calls contains one call of each kind.
var calls = map[string]func(context.Context, *grpc.ClientConn) (string, error){"unary": mine,
	"stream": watchOnce}

// with returns the context of a call whose metadata has these authorization values.
func with(t *testing.T, values ...string) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	for _, value := range values {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
	}
	return ctx
}

func TestGRPCCallIdentifiesItsCallerAndRejectsOthers(t *testing.T) {
	t.Parallel()
	const missing, rejected = "Authentication required: send a bearer token", "Invalid or expired " +
		"token: sign in again"
	for kind, call := range calls {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			connection := dialProtected(t, f)
			good, revoked, expired := f.token(t, f.alice), f.token(t, f.root), f.token(t, f.alice)
			_, err := f.svc.Tokens().RevokeUser(t.Context(), auth.ByHost("setup"), f.root.ID)
			require.NoError(t, err)

			answer, err := call(with(t, "Bearer "+good), connection)
			require.NoError(t, err)
			require.Equal(t, "the reports of alice", answer)
			for name, c := range map[string]struct {
				values []string
				want   string
			}{
				"no token":       {nil, missing},
				"an empty value": {[]string{""}, missing},
				"another scheme": {[]string{"Basic YTpi"}, missing},
				"a forged token": {[]string{"Bearer " + forged(good)}, rejected},
				"a revoked one":  {[]string{"Bearer " + revoked}, rejected},
				"two tokens":     {[]string{"Bearer " + good, "Bearer " + good}, rejected},
				"good, forged":   {[]string{"Bearer " + good, "Bearer " + forged(good)}, rejected},
				"forged, good":   {[]string{"Bearer " + forged(good), "Bearer " + good}, rejected},
				"two in one":     {[]string{"Bearer " + good + ",Bearer " + good}, rejected},
			} {
				_, err := call(with(t, c.values...), connection)
				require.Equal(t, codes.Unauthenticated, status.Code(err), "%s: %v", name, err)
				require.Equal(t, c.want, status.Convert(err).Message(), name)
			}

			f.passed.Store(int64(13 * time.Hour))
			_, err = call(with(t, "Bearer "+expired), connection)
			require.Equal(t, codes.Unauthenticated, status.Code(err))
			f.broken.Store(true)
			_, err = call(with(t, "Bearer "+f.token(t, f.alice)), connection)
			require.Equal(t, codes.Unavailable, status.Code(err))
			require.Equal(t, "Service temporarily unavailable: try again later",
				status.Convert(err).Message())
		})
	}
}

// A gRPC server does not recover from panics. If the library did not recover from a panic of the
// store, this test would end the process.
func TestPanickingStoreEndsOneGRPCCallNotTheProcess(t *testing.T) {
	t.Parallel()
	for kind, call := range calls {
		f := newFixture(t)
		connection := dialProtected(t, f)
		ctx := with(t, "Bearer "+f.token(t, f.alice))
		f.panics.Store(true)
		_, err := call(ctx, connection)
		require.Equal(t, codes.Unavailable, status.Code(err), kind)
		require.Equal(t, "Service temporarily unavailable: try again later",
			status.Convert(err).Message(), kind)
		f.panics.Store(false)
		_, err = call(ctx, connection)
		require.NoError(t, err, kind)
	}
}

func TestGRPCInterceptorsKeepEachOthersContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := "Bearer " + f.token(t, f.alice)
	for name, options := range map[string][]grpc.ServerOption{
		"ours last": {
			grpc.ChainUnaryInterceptor(traceUnary, grpcauth.Unary(f.svc, scopes)),
			grpc.ChainStreamInterceptor(traceStream, grpcauth.Stream(f.svc, scopes)),
		},
		"ours first": {
			grpc.ChainUnaryInterceptor(grpcauth.Unary(f.svc, scopes), traceUnary),
			grpc.ChainStreamInterceptor(grpcauth.Stream(f.svc, scopes), traceStream),
		},
	} {
		connection := dial(t, f.svc, options...)
		for kind, call := range calls {
			answer, err := call(with(t, token), connection)
			require.NoError(t, err, "%s, %s", name, kind)
			require.Equal(t, "traced: the reports of alice", answer, "%s, %s", name, kind)
		}
	}
}

func TestGRPCStreamIsIdentifiedOnceAndOutlivesItsToken(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *fixture){
		"expired": func(_ *testing.T, f *fixture) { f.passed.Store(int64(13 * time.Hour)) },
		"revoked": func(t *testing.T, f *fixture) {
			_, err := f.svc.Tokens().RevokeUser(t.Context(), auth.ByHost("setup"), f.alice.ID)
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			connection := dialProtected(t, f)
			ctx := with(t, "Bearer "+f.token(t, f.alice))
			ask := watch(ctx, connection)
			_, err := ask()
			require.NoError(t, err)
			end(t, f)
			answer, err := ask()
			require.NoError(t, err)
			require.Equal(t, "the reports of alice", answer)
			_, err = watchOnce(ctx, connection)
			require.Equal(t, codes.Unauthenticated, status.Code(err))
		})
	}
}

func TestGRPCSuperUserCallReadsTheStoreEachTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	connection := dialProtected(t, f)
	root, alice := with(t, "Bearer "+f.token(t, f.root)), with(t, "Bearer "+f.token(t, f.alice))
	answer, err := invoke(root, connection, "Purge")
	require.NoError(t, err)
	require.Equal(t, "all gone", answer)
	promote := func(user auth.User, power bool) {
		_, err := f.svc.UpdateUser(t.Context(), auth.ByHost("setup"), user.ID,
			auth.UserChange{IsSuperUser: &power})
		require.NoError(t, err)
	}
	requireRefused := func(ctx context.Context) {
		t.Helper()
		_, err := invoke(ctx, connection, "Purge")
		require.Equal(t, codes.PermissionDenied, status.Code(err))
		require.Equal(t, "Super user access required", status.Convert(err).Message())
	}
	requireRefused(alice)
	promote(f.alice, true)
	promote(f.root, false)
	requireRefused(root) // with the same token
	_, err = invoke(alice, connection, "Purge")
	require.NoError(t, err)
}

func TestGRPCEventsSayWhoSentTheCall(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	connection := dialProtected(t, f)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer x.y.z",
		"x-request-id", "request-1", "x-forwarded-for", "203.0.113.7")
	_, err := mine(ctx, connection)
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.Regexp(t,
		`token.rejected" .*event.address=203.0.113.7 event.user_agent=grpc-go/\S+ event.request_id=request-1`, f.log.String())
}
