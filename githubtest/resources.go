package githubtest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
)

// resources are the resources that a client can read, with the scopes that GitHub documents. GitHub does not
// document that an app without the permission "Members" gets empty lists.
var resources = []resource{
	{EndpointUser, nil, 0, "", false, profile},
	{EndpointEmails, []string{"user:email", "user"}, http.StatusNotFound, emailPermission, false, emails},
	{EndpointMemberships, []string{"read:org", "write:org", "admin:org"}, http.StatusForbidden,
		membersPermission, true, memberships},
	{EndpointOrgs, []string{"read:org", "write:org", "admin:org", "user"}, http.StatusForbidden,
		membersPermission, true, orgs},
	{EndpointTeams, []string{"read:org", "write:org", "admin:org", "user", "repo"},
		http.StatusForbidden, membersPermission, true, teams},
	{EndpointRepos, nil, 0, "", false, repos},
}

// The permissions of a GitHub App that matter to the fake, as GitHub's API names them.
const (
	emailPermission   = "email_addresses"
	membersPermission = "members"
)

// isGitHubApp reports whether the registered app is a GitHub App instead of an OAuth app.
func (s *Server) isGitHubApp() bool { return s.permissions != nil }

// created is the creation time of every object of the fake.
const created = "2011-01-25T18:44:36Z"

// profile returns the response of GET /user. The response has the fields of the public profile. If
// the scopes of the token allow it, the response also has private fields. The e-mail address is
// always that of the public profile.
func profile(r apiRequest) any {
	user := simpleUser(r.api, r.web, r.user)
	add(user, object{
		"name": nullable(r.user.Name), "company": nil, "blog": "", "location": nil,
		"email": r.user.publicEmail(), "notification_email": r.user.publicEmail(),
		"hireable": nil, "bio": nil, "twitter_username": nil,
		"public_repos": len(visible(r.user.Repos, false)), "public_gists": 0, "followers": 0, "following": 0,
		"created_at": created, "updated_at": created,
	})
	if !allows(r.scopes, []string{"user", "read:user"}) {
		return user
	}
	private := len(r.user.Repos) - len(visible(r.user.Repos, false))
	add(user, object{
		"user_view_type": "private", "private_gists": 0, "total_private_repos": private, "owned_private_repos": private,
		"disk_usage": 0, "collaborators": 0, "two_factor_authentication": true,
		"plan": object{"name": "free", "space": 976562499, "collaborators": 0, "private_repos": 10000},
	})
	return user
}

func emails(r apiRequest) any {
	list := []object{}
	for _, email := range r.user.Emails {
		entry := object{"email": email.Address, "primary": email.Primary,
			"verified": email.Verified, "visibility": nil}
		if email.Primary {
			entry["visibility"] = "private"
		}
		if email.Public {
			entry["visibility"] = "public"
		}
		list = append(list, entry)
	}
	return list
}

func memberships(r apiRequest) any {
	list := []object{}
	for _, membership := range r.user.Memberships {
		state, role := "active", "member"
		if membership.Pending {
			state = "pending"
		}
		if membership.Admin {
			role = "admin"
		}
		if wanted := r.query.Get("state"); wanted != "" && wanted != state {
			continue
		}
		org := r.api + "/orgs/" + membership.Org.Login
		list = append(list, object{
			"url": org + "/memberships/" + r.user.Login, "state": state, "role": role, "direct_membership": true,
			"enterprise_teams_providing_indirect_membership": []string{},
			"organization_url": org,
			"organization":     simpleOrg(r, membership.Org),
			"user":             simpleUser(r.api, r.web, r.user),
			"permissions":      object{"can_create_repository": membership.Admin},
		})
	}
	return list
}

func orgs(r apiRequest) any {
	list := []object{}
	for _, membership := range r.user.Memberships {
		if !membership.Pending {
			list = append(list, simpleOrg(r, membership.Org))
		}
	}
	return list
}

func teams(r apiRequest) any {
	list := []object{}
	for _, team := range r.user.Teams {
		url := fmt.Sprintf("%s/organizations/%d/team/%d", r.api, team.Org.ID, team.ID)
		list = append(list, object{
			"id": team.ID, "node_id": nodeID("Team", team.ID), "name": team.Slug, "slug": team.Slug,
			"description": nil, "privacy": "closed", "notification_setting": "notifications_enabled",
			"permission": "pull", "type": "organization", "organization_id": team.Org.ID, "parent": nil,
			"url": url, "html_url": r.web + "/orgs/" + team.Org.Login + "/teams/" + team.Slug,
			"members_url": url + "/members{/member}", "repositories_url": url + "/repos",
			"members_count": 1, "repos_count": 0, "created_at": created, "updated_at": created,
			"organization": fullOrg(r, team.Org),
		})
	}
	return list
}

// simpleUser returns the short form of a user. Other objects contain this form.
func simpleUser(api, web string, user User) object {
	url := api + "/users/" + user.Login
	return object{
		"login": user.Login, "id": user.ID, "node_id": nodeID("User", user.ID), "type": "User",
		"user_view_type": "public", "site_admin": false, "gravatar_id": "",
		"avatar_url": fmt.Sprintf("%s/avatars/u/%d?v=4", web, user.ID),
		"url":        url, "html_url": web + "/" + user.Login,
		"followers_url":       url + "/followers",
		"following_url":       url + "/following{/other_user}",
		"gists_url":           url + "/gists{/gist_id}",
		"starred_url":         url + "/starred{/owner}{/repo}",
		"subscriptions_url":   url + "/subscriptions",
		"organizations_url":   url + "/orgs",
		"repos_url":           url + "/repos",
		"events_url":          url + "/events{/privacy}",
		"received_events_url": url + "/received_events",
	}
}

func simpleOrg(r apiRequest, org Org) object {
	url := r.api + "/orgs/" + org.Login
	return object{
		"login": org.Login, "id": org.ID, "node_id": nodeID("Organization", org.ID), "description": nil,
		"avatar_url": fmt.Sprintf("%s/avatars/u/%d?v=4", r.web, org.ID),
		"url":        url, "repos_url": url + "/repos", "events_url": url + "/events", "hooks_url": url + "/hooks",
		"issues_url": url + "/issues", "members_url": url + "/members{/member}",
		"public_members_url": url + "/public_members{/member}",
	}
}

func fullOrg(r apiRequest, org Org) object {
	full := simpleOrg(r, org)
	add(full, object{
		"html_url": r.web + "/" + org.Login, "type": "Organization", "has_organization_projects": true,
		"has_repository_projects": true, "public_repos": 0, "public_gists": 0, "followers": 0, "following": 0,
		"created_at": created, "updated_at": created, "archived_at": nil,
	})
	return full
}

func add(to, fields object) {
	for name, value := range fields {
		to[name] = value
	}
}

// nullable returns the text, or nil for an empty text. JSON encodes nil as null.
func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// nodeID returns the GraphQL ID of an object, in the older of GitHub's two formats.
func nodeID(kind string, id int64) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "0%d:%s%d", len(kind), kind, id))
}

// avatar responds with an image of a disc, in a color that depends on the user.
func avatar(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	fmt.Fprintf(w,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><circle cx="20" cy="20" r="20" fill="hsl(%d 60%% 45%%)"/></svg>`, id%360)
}
