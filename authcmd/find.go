package authcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
)

// pageSize is the number of records that a command reads at a time.
const pageSize = 1000

// users returns the store as one that keeps users.
func (c *call) users() (auth.UserStore, error) {
	if users, ok := c.Store.(auth.UserStore); ok {
		return users, nil
	}
	return nil, errors.New("the host keeps the users in its own table: change them there")
}

// eachUser calls visit for every user whom the query selects, in the order of [auth.UserStore.ListUsers].
func (c *call) eachUser(ctx context.Context, query auth.UserQuery, visit func(auth.User) error) error {
	users, err := c.users()
	if err != nil {
		return err
	}
	for query.Limit = pageSize; ; {
		page, err := users.ListUsers(ctx, query)
		if err != nil {
			return err
		}
		for _, user := range page {
			if err := visit(user); err != nil {
				return err
			}
		}
		if len(page) < pageSize {
			return nil
		}
		query.After = query.Position(page[len(page)-1])
	}
}

// findUser returns the user that the argument names. A person can choose a username that is the ID or the
// e-mail address of another user, so findUser returns an error if the argument matches several users.
func (c *call) findUser(ctx context.Context, arg string) (auth.User, error) {
	users, err := c.users()
	if err != nil {
		id := strings.TrimPrefix(arg, "id:")
		return auth.User{ID: id, Username: id}, nil // the host knows whether the user exists
	}
	if id, ok := strings.CutPrefix(arg, "id:"); ok {
		user, err := users.FindUser(ctx, id)
		if errors.Is(err, auth.ErrNotFound) {
			err = fmt.Errorf("there is no user with the ID %q", id)
		}
		return user, err
	}
	found, err := c.matching(ctx, arg)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("no user has the ID, the username or the e-mail address %q", arg)
	}
	if err != nil {
		return auth.User{}, err
	}
	return onlyUser(arg, found)
}

// onlyUser returns the user whom the argument names. If there are several, it returns an error that lists
// them.
func onlyUser(arg string, found []auth.User) (auth.User, error) {
	if len(found) == 1 {
		return found[0], nil
	}
	var list strings.Builder
	for _, user := range found {
		fmt.Fprintf(&list, "\n\tid:%s  username %s", printable(user.ID), printable(user.Username))
		if user.Email != "" {
			fmt.Fprintf(&list, ", e-mail %s", printable(user.Email))
		}
	}
	return auth.User{}, fmt.Errorf("%q matches several users; name one of them by the ID:%s", arg, &list)
}

// matching returns all users that the argument names. It searches in the order of the names, for which a
// store has an index, because reading all users of a large service takes minutes.
func (c *call) matching(ctx context.Context, arg string) (found []auth.User, err error) {
	users, err := c.users()
	if err != nil {
		return nil, err
	}
	name, oneWay, matches := parseName(arg)
	query := auth.UserQuery{Search: name}
	if name != "" && query.Validate() == nil { // otherwise, no user has this name
		err = c.eachUser(ctx, query, func(user auth.User) error {
			if matches(user) {
				found = append(found, user)
			}
			return nil
		})
	}
	if err != nil || oneWay {
		return found, err
	}
	byID, err := users.FindUser(ctx, arg)
	if errors.Is(err, auth.ErrNotFound) {
		return found, nil
	}
	if err == nil && !slices.ContainsFunc(found, func(u auth.User) bool { return u.ID == byID.ID }) {
		found = append(found, byID)
	}
	return found, err
}

// parseName returns the name in the argument, whether a prefix says what the name is, and a function that
// reports whether a user has the name.
func parseName(arg string) (name string, oneWay bool, matches func(auth.User) bool) {
	name, byUsername := strings.CutPrefix(arg, "name:")
	byEmail := false
	if !byUsername {
		name, byEmail = strings.CutPrefix(arg, "email:")
	}
	folded := auth.FoldASCII(name)
	return name, byUsername || byEmail, func(u auth.User) bool {
		return !byEmail && auth.FoldASCII(u.Username) == folded ||
			!byUsername && auth.FoldASCII(u.Email) == folded
	}
}

// userID returns the ID of the user that the value of a flag names. If no user matches, it returns the value,
// which can be the ID of a user who was deleted. It returns the empty ID only for an empty value.
func (c *call) userID(ctx context.Context, arg string) (string, error) {
	if arg == "id:" { // from a variable of a script that is not set
		return "", usageError{c.command.name, "the ID after id: must not be empty"}
	}
	if _, err := c.users(); err != nil || arg == "" || strings.HasPrefix(arg, "id:") {
		return strings.TrimPrefix(arg, "id:"), nil
	}
	found, err := c.matching(ctx, arg)
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return arg, nil
	}
	user, err := onlyUser(arg, found)
	return user.ID, err
}

// described returns the username and the ID of a user, for a sentence.
func described(user auth.User) string {
	if user.Username == user.ID {
		return "the user " + printable(user.ID)
	}
	return fmt.Sprintf("the user %s (ID %s)", printable(user.Username), printable(user.ID))
}

// owner returns the user with the ID. If the store keeps no users or the user does not exist, the result
// has only the ID.
func (c *call) owner(ctx context.Context, id string) (auth.User, error) {
	fallback := auth.User{ID: id, Username: id}
	users, err := c.users()
	if err != nil {
		return fallback, nil
	}
	user, err := users.FindUser(ctx, id)
	if errors.Is(err, auth.ErrNotFound) {
		return fallback, nil
	}
	return user, err
}

// now returns the time of the clock of the service.
func (c *call) now() time.Time {
	if c.Config.Now != nil {
		return c.Config.Now()
	}
	return time.Now()
}

// keyOptions returns the options of a new key from the flags.
func (c *call) keyOptions() (auth.KeyOptions, error) {
	options := auth.KeyOptions{Label: c.options.label, MustRotate: c.options.mustRotate}
	if scopes := list(c.options.scopes); len(scopes) > 0 {
		options.Scopes = auth.NewScopes(scopes...)
	}
	var err error
	options.ExpiresAt, err = expiry(c.now(), c.options.expires)
	if err != nil {
		return options, usageError{c.command.name, err.Error()}
	}
	return options, nil
}

// expiry returns the time that the text of a flag names. The empty text is the zero time.
func expiry(now time.Time, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, ok := parseTime(text); ok {
		if !at.After(now) {
			return at, fmt.Errorf("-expires: %s is not in the future", date(at))
		}
		return at, nil
	}
	var days int
	if rest, ok := strings.CutSuffix(text, "d"); ok {
		if _, err := fmt.Sscanf(rest+"\n", "%d\n", &days); err == nil && days > 0 && days <= 36500 {
			return now.Add(time.Duration(days) * day), nil
		}
	}
	if lasts, err := time.ParseDuration(text); err == nil && lasts > 0 {
		return now.Add(lasts), nil
	}
	return time.Time{}, errors.New("-expires must be a time such as 2027-01-31T12:00:00Z, a date such " +
		"as 2027-01-31, or a duration such as 90d or 12h")
}

// parseTime returns the time that the text names. A date names the beginning of the day in UTC.
func parseTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// list returns the elements of a text that are separated by commas.
func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// status returns whether the user can sign in, for a table.
func status(user auth.User) string {
	return cmp.Or(map[bool]string{true: "disabled"}[!user.IsActive], "active")
}

func role(user auth.User) string {
	switch {
	case user.IsSuperUser && user.IsService:
		return "super user, service"
	case user.IsSuperUser:
		return "super user"
	case user.IsService:
		return "service"
	}
	return "user"
}
