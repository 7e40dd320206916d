// Package mcpauth protects a server of the Model Context Protocol. Each tool needs a scope, and knows the
// user who calls it. The package uses the SDK for Go, github.com/modelcontextprotocol/go-sdk.
package mcpauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	sdkauth "github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/sallyport-go/auth"
)

// Gate lets requests pass that have a valid token with a scope. [*auth.Service] and [*auth.RemoteVerifier]
// are gates.
type Gate interface {
	RequireScope(scope string, next http.Handler) http.Handler
}

// Server is an MCP server whose tools need scopes. Make it with [New], and add its tools with [AddTool]
// before it serves requests.
type Server struct {
	gate  Gate
	sdk   *mcp.Server
	open  http.Handler            // serves the requests that the gate has let pass
	tools map[string]http.Handler // open, behind the scope of each tool
}

// New returns a server without tools. The server has no MCP sessions, so that every request proves its
// caller, and can go to any instance of the service.
func New(gate Gate, about *mcp.Implementation) *Server {
	s := &Server{gate: gate, sdk: mcp.NewServer(about, nil), tools: map[string]http.Handler{}}
	streamable := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.sdk },
		&mcp.StreamableHTTPOptions{Stateless: true})
	s.open = sdkauth.RequireBearerToken(tokenInfo, nil)(streamable)
	return s
}

// Handler returns the handler of the endpoint. Every request needs the scope, and the call of a tool also
// needs the scope of the tool. A client that lacks a scope gets 403 with the name of the scope.
func (s *Server) Handler(scope string) http.Handler {
	return s.gate.RequireScope(scope, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tool, err := calledTool(w, r)
		if err != nil {
			http.Error(w, "the request cannot be read", http.StatusBadRequest)
			return
		}
		handler, found := s.tools[tool]
		if !found {
			handler = s.open
		}
		handler.ServeHTTP(w, r)
	}))
}

// maxBody is the maximum length of a request, in bytes.
const maxBody = 1 << 20

// calledTool returns the name of the tool that the request calls, or "". The body can be read again.
func calledTool(w http.ResponseWriter, r *http.Request) (string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return "", err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var call struct {
		Method string `json:"method"`
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
	}
	if json.Unmarshal(body, &call) != nil || call.Method != "tools/call" { // the SDK answers a broken request
		return "", nil
	}
	return call.Params.Name, nil
}

// callerKey is where the extra data of the SDK's token info has the caller.
const callerKey = "caller"

// tokenInfo passes the caller that the gate has found to the SDK. The SDK passes it to the tools.
func tokenInfo(_ context.Context, _ string, r *http.Request) (*sdkauth.TokenInfo, error) {
	caller, found := auth.IdentityFromContext(r.Context())
	if !found {
		return nil, sdkauth.ErrInvalidToken
	}
	return &sdkauth.TokenInfo{UserID: caller.UserID, Expiration: caller.ExpiresAt,
		Extra: map[string]any{callerKey: caller}}, nil
}

// AddTool adds a tool that needs the scope. The function finds the caller with [auth.IdentityFromContext].
func AddTool[In, Out any](
	s *Server, scope string, tool *mcp.Tool, run func(context.Context, In) (Out, error),
) {
	s.tools[tool.Name] = s.gate.RequireScope(scope, s.open)
	mcp.AddTool(s.sdk, tool, func(ctx context.Context, request *mcp.CallToolRequest, in In) (
		_ *mcp.CallToolResult, out Out, err error,
	) {
		// The SDK has the last word on which tool a request calls, so the scope is checked here, too.
		caller, err := callerOf(request)
		if err == nil {
			err = caller.CheckScope(scope)
		}
		if err != nil {
			_, detail := auth.ErrorStatus(err)
			return nil, out, errors.New(detail)
		}
		out, err = run(auth.WithIdentity(ctx, caller), in)
		return nil, out, err
	})
}

func callerOf(request *mcp.CallToolRequest) (auth.Identity, error) {
	if request.Extra == nil || request.Extra.TokenInfo == nil {
		return auth.Identity{}, auth.ErrTokenMissing
	}
	caller, found := request.Extra.TokenInfo.Extra[callerKey].(auth.Identity)
	if !found {
		return auth.Identity{}, auth.ErrTokenMissing
	}
	return caller, nil
}
