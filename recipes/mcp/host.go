package mcpauth

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	sdkauth "github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/sallyport-go/auth"
)

// Metadata returns the handler of GET /.well-known/oauth-protected-resource/mcp. Clients find out there that
// they get a token for baseURL/mcp from the issuer (RFC 9728).
func Metadata(baseURL, issuer string, scopes ...string) http.Handler {
	return sdkauth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource:               baseURL + "/mcp",
		AuthorizationServers:   []string{issuer},
		ScopesSupported:        scopes,
		BearerMethodsSupported: []string{"header"},
	})
}

// Notes are the notes of all users, with tools to read and to write them.
type Notes struct {
	mu     sync.Mutex
	byUser map[string][]string // by the ID of the user
}

type noNote struct{}

type note struct {
	Text string `json:"text" jsonschema:"the text of the note"`
}

type notes struct {
	Notes []string `json:"notes"`
}

// AddTools adds the tools list_notes and add_note.
func (n *Notes) AddTools(server *Server) {
	AddTool(server, "notes:read", &mcp.Tool{Name: "list_notes", Description: "Lists your notes."}, n.list)
	AddTool(server, "notes:write", &mcp.Tool{Name: "add_note", Description: "Adds a note."}, n.add)
}

func (n *Notes) list(ctx context.Context, _ noNote) (notes, error) {
	caller, _ := auth.IdentityFromContext(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	return notes{append([]string{}, n.byUser[caller.UserID]...)}, nil // an empty list is [], not null
}

func (n *Notes) add(ctx context.Context, added note) (notes, error) {
	caller, _ := auth.IdentityFromContext(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byUser == nil {
		n.byUser = map[string][]string{}
	}
	n.byUser[caller.UserID] = append(n.byUser[caller.UserID], added.Text)
	return notes{slices.Clone(n.byUser[caller.UserID])}, nil
}

// Reports is another service, which verifies tokens itself: see [auth.RemoteVerifier].
type Reports struct {
	Tokens   *auth.TokenIssuer // of the service that runs the MCP server
	AgentID  string            // the service user that stands for the MCP server
	Audience string            // of the other service
	URL      string            // of the reports
}

type report struct {
	Text string `json:"text"`
}

// AddTools adds the tool read_report.
func (r *Reports) AddTools(server *Server) {
	AddTool(server, "reports:read", &mcp.Tool{Name: "read_report", Description: "Reads your report."}, r.read)
}

// read calls the other service for the caller, with a token that only the other service accepts. It must not
// pass on the caller's own token, which is for this server.
func (r *Reports) read(ctx context.Context, _ noNote) (report, error) {
	caller, _ := auth.IdentityFromContext(ctx)
	delegated, err := r.Tokens.Delegate(ctx, caller, auth.Delegation{
		For: r.AgentID, Audience: r.Audience, Scopes: auth.NewScopes("reports:read"),
	})
	if err != nil {
		_, detail := auth.ErrorStatus(err)
		return report{}, fmt.Errorf("the report cannot be read: %s", detail)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return report{}, err
	}
	request.Header.Set("Authorization", "Bearer "+delegated.Bearer.Reveal())
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return report{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return report{}, fmt.Errorf("the reports answered %s", response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return report{string(text)}, err
}
