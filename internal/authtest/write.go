package authtest

import (
	"time"

	"github.com/sallyport-go/auth"
)

// ByHost is the authority of the tests.
var ByHost = auth.ByHost("test")

// HostWrite is a change that the host makes now, without an event.
var HostWrite = auth.Write{By: ByHost, Now: time.Now, MaxTokenLifetime: 24 * time.Hour}
