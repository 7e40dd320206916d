package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
)

// change is an event since the backup.
type change struct {
	auth.Event

	// overtaken is true if a later event has taken the result of the event away again. A person need
	// not act on such an event. The program repeats it nevertheless, because the later event may be
	// false, or impossible to repeat.
	overtaken bool

	demoted bool // whether a later event has demoted the user

	// undone has the parts of Reason that later events have taken away again, such as
	// "is_active=true".
	undone []string
}

// changesOf returns the events with what later events have done to them.
func changesOf(events []auth.Event) []change {
	changes := make([]change, len(events))
	later := map[string]bool{}
	last := map[string]string{} // the last value of a field of a user
	for i, event := range slices.Backward(events) {
		if event.Host == operator.Host {
			// An earlier attempt to restore has made this change. Its decisions were made for the database
			// of that attempt, so they leave nothing out.
			changes[i] = change{Event: event}
			continue
		}
		user := "user " + event.UserID + " "
		c := change{Event: event, demoted: later[user+"is_super_user"]}
		key := "key " + event.AccessKey + " "
		deleted := later[user+"deleted"]
		gone := deleted || later[user+"reset"]
		disabled := last[user+"is_active"] == "false"
		switch event.Kind {
		case eventkind.KeyImported, eventkind.UserChanged:
			c.overtaken = deleted
		case eventkind.UserCreated, eventkind.Bootstrapped:
			c.overtaken = deleted || disabled
		case eventkind.KeyIssued:
			c.overtaken = gone || later[key+"revoked"]
		case eventkind.KeyRotated, eventkind.KeyChanged:
			c.overtaken = gone || later[key+"revoked"] || disabled
		case eventkind.KeyRevoked, eventkind.KeyLeaked:
			later[key+"revoked"] = event.AccessKey != imported
		case eventkind.GitHubConnected, eventkind.GitHubRefreshed:
			c.overtaken = gone || later[user+"unlinked"]
		case eventkind.GitHubUnlinked:
			later[user+"unlinked"] = true
		case eventkind.UserReset, eventkind.SuperUserRecovered:
			c.overtaken = gone || disabled
			later[user+"reset"] = true
			if event.Reason != "regenerated" { // reinstated or recovered
				last[user+"is_active"] = cmp.Or(last[user+"is_active"], "true")
			}
		case eventkind.UserDeleted:
			later[user+"deleted"] = true
		}
		if event.Kind == eventkind.UserChanged {
			for _, part := range strings.Fields(event.Reason) {
				field, value, _ := strings.Cut(part, "=")
				if value == "true" && later[user+field] {
					c.undone = append(c.undone, part)
				}
				later[user+field] = later[user+field] || value == "false"
				last[user+field] = cmp.Or(last[user+field], value)
			}
		}
		changes[i] = c
	}
	return changes
}
