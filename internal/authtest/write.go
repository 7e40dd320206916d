package authtest

import (
	"time"

	"github.com/sallyport-go/auth"
)

// ByHost is the authority of the host in tests.
var ByHost = auth.ByHost("test")

// HostWrite is a write by the host at the current time, without an event.
var HostWrite = auth.Write{By: ByHost, Now: time.Now, MaxTokenLifetime: 24 * time.Hour}
