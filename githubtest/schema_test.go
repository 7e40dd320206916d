package githubtest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/githubtest"
)

// schema maps the required fields of a JSON object to their types. A question mark after the type
// means that the field may be null. The fields are those that github/rest-api-description had in
// 2026 for api.github.com, REST API version 2022-11-28.
type schema map[string]string

// required returns a schema. Each line has a type and the names of the fields with that type.
func required(lines ...string) schema {
	made := make(schema)
	for _, line := range lines {
		kind, names, _ := strings.Cut(line, ":")
		for name := range strings.FieldsSeq(names) {
			made[name] = kind
		}
	}
	return made
}

func (s schema) and(more schema) schema {
	both := maps.Clone(s)
	maps.Copy(both, more)
	return both
}

var (
	simpleUser = required(
		"uri: avatar_url followers_url html_url organizations_url received_events_url repos_url "+
			"subscriptions_url url",
		"string: events_url following_url gists_url login node_id starred_url type",
		"string?: gravatar_id",
		"integer: id",
		"boolean: site_admin")
	publicUser = simpleUser.and(required(
		"string?: bio blog company email location name",
		"boolean?: hireable",
		"integer: followers following public_gists public_repos",
		"time: created_at updated_at"))
	privateUser = publicUser.and(required(
		"integer: collaborators disk_usage owned_private_repos private_gists total_private_repos",
		"boolean: two_factor_authentication"))
	plan = required("integer: collaborators space private_repos", "string: name")

	email = required("string: email", "boolean: primary verified", "string?: visibility")

	simpleOrganization = required(
		"uri: repos_url events_url url",
		"string: avatar_url hooks_url issues_url login members_url node_id public_members_url",
		"string?: description",
		"integer: id")
	teamOrganization = simpleOrganization.and(required(
		"uri: html_url",
		"boolean: has_organization_projects has_repository_projects",
		"integer: followers following public_gists public_repos",
		"string: type",
		"time: created_at updated_at",
		"time?: archived_at"))
	membership = required("string: state role", "uri: organization_url url",
		"object: organization user")
	fullTeam = required(
		"integer: id members_count repos_count",
		"string: members_url name node_id permission slug type",
		"string?: description",
		"uri: html_url repositories_url url",
		"time: created_at updated_at",
		"object: organization")

	repository = required(
		"string: archive_url assignees_url blobs_url branches_url collaborators_url comments_url "+
			"commits_url compare_url contents_url",
		"string: git_commits_url git_refs_url git_tags_url issue_comment_url issue_events_url "+
			"issues_url keys_url labels_url",
		"string: milestones_url notifications_url pulls_url releases_url statuses_url trees_url",
		"string: full_name name node_id clone_url default_branch git_url ssh_url",
		"uri: contributors_url deployments_url downloads_url events_url forks_url hooks_url html_url "+
			"languages_url merges_url",
		"uri: stargazers_url subscribers_url subscription_url svn_url tags_url teams_url url",
		"string?: description homepage language mirror_url",
		"boolean: archived disabled fork has_downloads has_issues has_pages has_projects has_wiki private",
		"integer: forks forks_count id open_issues open_issues_count size stargazers_count watchers "+
			"watchers_count",
		"time?: created_at pushed_at updated_at",
		"object: owner",
		"object?: license")

	authorization = required(
		"object: app",
		"integer: id",
		"string?: fingerprint hashed_token note note_url token_last_eight",
		"array?: scopes",
		"string: token",
		"uri: url",
		"time: created_at updated_at",
		"time?: expires_at")
	app = required("string: client_id name", "uri: url")
)

// check fails the test unless the object has the required fields.
func (s schema) check(t *testing.T, value any) {
	t.Helper()
	object, ok := value.(map[string]any)
	require.True(t, ok, "%v is no object", value)
	for name, kind := range s {
		require.Contains(t, object, name)
		require.True(t, isOf(kind, object[name]), "%s is %v, not %s", name, object[name], kind)
	}
}

func isOf(kind string, value any) bool {
	if kind, nullable := strings.CutSuffix(kind, "?"); nullable {
		return value == nil || isOf(kind, value)
	}
	switch value := value.(type) {
	case string:
		switch kind {
		case "uri":
			return strings.HasPrefix(value, "http://127.0.0.1:") && !strings.ContainsAny(value, "{} ")
		case "time":
			_, err := time.Parse(time.RFC3339, value)
			return err == nil
		}
		return kind == "string"
	case json.Number:
		_, err := value.Int64()
		return kind == "integer" && err == nil
	case bool:
		return kind == "boolean"
	case map[string]any:
		return kind == "object"
	case []any:
		return kind == "array"
	}
	return false
}

// exact decodes JSON. It keeps the text of each number.
func exact(t *testing.T, body string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	var value any
	require.NoError(t, decoder.Decode(&value))
	return value
}

func TestAnswersHaveGitHubsFieldsAndTypes(t *testing.T) {
	for _, lifetime := range []time.Duration{0, time.Hour} {
		c := startWith(t, githubtest.Config{AutoApprove: "octocat", TokenLifetime: lifetime})
		for _, user := range c.Users() {
			require.NoError(t, c.SignInAs(user.Login))
			token := c.signIn("")
			publicUser.check(t, exact(t, c.get("/user", token).body))
			token = c.signIn("user repo read:org")
			private := exact(t, c.get("/user", token).body)
			privateUser.check(t, private)
			plan.check(t, private.(map[string]any)["plan"])

			found := make(map[string]int)
			list := func(path string, of schema, parts map[string]schema) {
				for _, entry := range exact(t, c.get(path, token).body).([]any) {
					found[path]++
					of.check(t, entry)
					for name, part := range parts {
						part.check(t, entry.(map[string]any)[name])
					}
				}
			}
			list("/user/emails", email, nil)
			list("/user/orgs", simpleOrganization, nil)
			list("/user/memberships/orgs", membership,
				map[string]schema{"organization": simpleOrganization, "user": simpleUser})
			list("/user/teams", fullTeam, map[string]schema{"organization": teamOrganization})
			list("/user/repos", repository, map[string]schema{"owner": simpleUser})
			if user.ID == octocat {
				require.Len(t, found, 5, fmt.Sprint(found))
			}

			checked := exact(t, c.application(http.MethodPost, "token", token).body)
			authorization.check(t, checked)
			app.check(t, checked.(map[string]any)["app"])
			simpleUser.check(t, checked.(map[string]any)["user"])
		}
	}
}
