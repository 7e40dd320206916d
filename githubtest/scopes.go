package githubtest

import (
	"slices"
	"strings"
)

// implied maps a scope to the other scopes that it includes.
var implied = map[string][]string{
	"user":             {"read:user", "user:email", "user:follow"},
	"repo":             {"repo:status", "repo_deployment", "public_repo", "repo:invite", "security_events"},
	"admin:org":        {"write:org", "read:org", "manage_runners:org"},
	"write:org":        {"read:org"},
	"admin:public_key": {"write:public_key", "read:public_key"},
	"write:public_key": {"read:public_key"},
	"admin:repo_hook":  {"write:repo_hook", "read:repo_hook"},
	"write:repo_hook":  {"read:repo_hook"},
	"write:packages":   {"read:packages"},
	"project":          {"read:project"},
}

// parseScopes parses the scopes of an authorization request, which are separated by spaces or
// commas. As at GitHub, it omits a scope that another requested scope includes. For example, "user
// user:email" grants "user".
func parseScopes(requested string) []string {
	asked := strings.FieldsFunc(requested, func(r rune) bool { return r == ' ' || r == ',' })
	return normalScopes(asked)
}

// normalScopes returns the scopes sorted and without duplicates. If one scope includes another
// scope, normalScopes omits the included scope.
func normalScopes(asked []string) []string {
	scopes := slices.Clone(asked)
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	return slices.DeleteFunc(scopes, func(scope string) bool {
		return slices.ContainsFunc(asked, func(wider string) bool {
			return slices.Contains(implied[wider], scope)
		})
	})
}

// allows reports whether one of the scopes is among the accepted scopes.
func allows(scopes, accepted []string) bool {
	for _, scope := range scopes {
		if slices.Contains(accepted, scope) {
			return true
		}
	}
	return false
}
