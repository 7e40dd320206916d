package githubtest

import "strings"

// repos returns the response of GET /user/repos. If the token has the scope "repo", the response
// includes private repositories.
func repos(r apiRequest) any {
	list := []object{}
	for _, repo := range visible(r.user.Repos, allows(r.scopes, []string{"repo"})) {
		list = append(list, fullRepo(r, repo))
	}
	return list
}

func visible(repos []Repo, private bool) []Repo {
	var shown []Repo
	for _, repo := range repos {
		if private || !repo.Private {
			shown = append(shown, repo)
		}
	}
	return shown
}

// repoLinks are the URLs of a repository's resources, relative to the URL of the repository.
var repoLinks = map[string]string{
	"archive_url":       "/{archive_format}{/ref}",
	"assignees_url":     "/assignees{/user}",
	"blobs_url":         "/git/blobs{/sha}",
	"branches_url":      "/branches{/branch}",
	"collaborators_url": "/collaborators{/collaborator}",
	"comments_url":      "/comments{/number}",
	"commits_url":       "/commits{/sha}",
	"compare_url":       "/compare/{base}...{head}",
	"contents_url":      "/contents/{+path}",
	"contributors_url":  "/contributors",
	"deployments_url":   "/deployments",
	"downloads_url":     "/downloads",
	"events_url":        "/events",
	"forks_url":         "/forks",
	"git_commits_url":   "/git/commits{/sha}",
	"git_refs_url":      "/git/refs{/sha}",
	"git_tags_url":      "/git/tags{/sha}",
	"hooks_url":         "/hooks",
	"issue_comment_url": "/issues/comments{/number}",
	"issue_events_url":  "/issues/events{/number}",
	"issues_url":        "/issues{/number}",
	"keys_url":          "/keys{/key_id}",
	"labels_url":        "/labels{/name}",
	"languages_url":     "/languages",
	"merges_url":        "/merges",
	"milestones_url":    "/milestones{/number}",
	"notifications_url": "/notifications{?since,all,participating}",
	"pulls_url":         "/pulls{/number}",
	"releases_url":      "/releases{/id}",
	"stargazers_url":    "/stargazers",
	"statuses_url":      "/statuses/{sha}",
	"subscribers_url":   "/subscribers",
	"subscription_url":  "/subscription",
	"tags_url":          "/tags",
	"teams_url":         "/teams",
	"trees_url":         "/git/trees{/sha}",
}

func fullRepo(r apiRequest, repo Repo) object {
	name := r.user.Login + "/" + repo.Name
	url, page := r.api+"/repos/"+name, r.web+"/"+name
	_, place, _ := strings.Cut(page, "://")
	visibility := "public"
	if repo.Private {
		visibility = "private"
	}
	full := object{
		"id": repo.ID, "node_id": nodeID("Repository", repo.ID), "name": repo.Name, "full_name": name,
		"owner": simpleUser(r.api, r.web, r.user), "private": repo.Private, "visibility": visibility,
		"url": url, "html_url": page, "clone_url": page + ".git", "svn_url": page,
		"git_url": "git://" + place + ".git", "ssh_url": "git@localhost:" + name + ".git",
		"mirror_url": nil, "homepage": nil, "description": nil, "language": nil, "license": nil,
		"fork": false, "archived": false, "disabled": false, "has_issues": true, "has_projects": true,
		"has_wiki": true, "has_pages": false, "has_downloads": true, "has_discussions": false,
		"default_branch": "main", "size": 0, "topics": []string{},
		"forks": 0, "forks_count": 0, "open_issues": 0, "open_issues_count": 0,
		"stargazers_count": 0, "watchers": 0, "watchers_count": 0,
		"created_at": created, "updated_at": created, "pushed_at": created,
		"permissions": object{"admin": true, "maintain": true, "push": true, "triage": true, "pull": true},
	}
	for field, path := range repoLinks {
		full[field] = url + path
	}
	return full
}
