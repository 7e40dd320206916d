package authtest

import (
	"time"

	"github.com/sallyport-go/auth"
)

// ByHost is the authority of the host program, for changes that no user asks for.
var ByHost = auth.ByHost("test")

// HostWrite is a write by the service itself, at the current time and without an event.
var HostWrite = auth.Write{By: ByHost, Now: time.Now, MaxTokenLifetime: 24 * time.Hour}
