package console

import (
	"encoding/json"

	"github.com/sallyport-go/auth"
)

// calls says which of the optional calls and parameters the service documents. The pages leave out the
// parts that need the others.
type calls struct {
	UserSearch bool // users can be searched by name and state
	UserKeys   bool // the keys and the sessions of each user can be listed
	EventTimes bool // events can be selected by time
	EventUser  string
}

// documentedCalls reads the description of the calls. Every answer of the service is tested against it.
func documentedCalls() (calls, error) {
	var document struct {
		Paths map[string]struct {
			Get struct {
				Parameters []struct{ Name string }
			}
		}
	}
	if err := json.Unmarshal(auth.OpenAPI(), &document); err != nil {
		return calls{}, err
	}
	takes := func(path, parameter string) bool {
		for _, known := range document.Paths[path].Get.Parameters {
			if known.Name == parameter {
				return true
			}
		}
		return false
	}
	_, keys := document.Paths["/auth/users/{id}/keys"]
	c := calls{
		UserSearch: takes("/auth/users", "search"), UserKeys: keys,
		EventTimes: takes("/auth/events", "from"), EventUser: "user_id",
	}
	if takes("/auth/events", "user") {
		c.EventUser = "user"
	}
	return c, nil
}
