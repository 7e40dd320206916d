package devicecode

import (
	"strings"

	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/internal/text"
)

// EventReason returns the Reason of an event about a device: the program, and the scopes of the device if
// there are any. It leaves the scopes out if they are too long for an event.
func EventReason(clientID string, scopes []string) string {
	client := text.Readable("client: "+clientID, limits.Reason)
	all := client + "; scopes: " + strings.Join(scopes, " ")
	if len(scopes) == 0 || len(all) > limits.Reason {
		return client
	}
	return all
}
