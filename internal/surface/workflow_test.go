package surface

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The tests in this file check the workflows, which run code of pull requests by strangers.

const workflows = root + "/.github/workflows"

// workflow has the fields of a workflow file that this repository uses. Others are refused, because each of
// them can give a job more power.
type workflow struct {
	Name        string
	On          map[string]*trigger
	Permissions map[string]string
	Concurrency struct {
		Group            string
		CancelInProgress string `yaml:"cancel-in-progress"`
	}
	Jobs map[string]job
}

type trigger struct {
	Branches []string
}

// UnmarshalYAML accepts the list of times of a schedule, and the fields of other triggers.
func (t *trigger) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.SequenceNode {
		var times []struct{ Cron string }
		return node.Decode(&times)
	}
	type fields trigger
	return node.Decode((*fields)(t))
}

type job struct {
	RunsOn         string `yaml:"runs-on"`
	TimeoutMinutes int    `yaml:"timeout-minutes"`
	Container      struct {
		Image, Options string
	}
	Steps []struct {
		Name, Uses, Run string
		With            map[string]string
	}
}

// triggers are the events that start a workflow without secrets and without the right to write. An example of
// another event is pull_request_target.
var triggers = []string{"pull_request", "push", "schedule"}

var (
	pinned  = regexp.MustCompile(`^actions/(checkout|setup-go)@[0-9a-f]{40}$`)
	version = regexp.MustCompile(`@(v\d+\.\d+\.\d+|[0-9a-f]{40})$`)
	program = regexp.MustCompile(`go (?:run|install) (\S+@\S+)`)
)

// workflowProblems returns what is wrong with the text of a workflow file.
func workflowProblems(text []byte) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var w workflow
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&w); err != nil {
		return []string{err.Error()}
	}
	for event := range w.On {
		if !slices.Contains(triggers, event) {
			problem("the event %s can start it", event)
		}
	}
	if !maps.Equal(w.Permissions, map[string]string{"contents": "read"}) {
		problem("permissions are %v; want only contents: read", w.Permissions)
	}
	for name, job := range w.Jobs {
		if job.TimeoutMinutes < 1 || job.TimeoutMinutes > 120 {
			problem("job %s has a timeout of %d minutes; want 1 to 120", name, job.TimeoutMinutes)
		}
		for _, step := range job.Steps {
			if (step.Uses == "") == (step.Run == "") {
				problem("job %s has a step with both or neither of uses and run", name)
			}
			if step.Uses != "" && !pinned.MatchString(step.Uses) {
				problem("job %s uses %s; want an action of this list, by its commit", name, step.Uses)
			}
			isCheckout := strings.HasPrefix(step.Uses, "actions/checkout@")
			if isCheckout && step.With["persist-credentials"] != "false" {
				problem("job %s leaves the token of the checkout on the disk", name)
			}
			if strings.Contains(step.Run, "${{") {
				problem("job %s puts an expression into a script, which a stranger could choose", name)
			}
			for _, match := range program.FindAllStringSubmatch(step.Run, -1) {
				if !version.MatchString(match[1]) {
					problem("job %s runs %s; want a version", name, match[1])
				}
			}
		}
	}
	return problems
}

func TestWorkflowsHaveOnlyTheRightToReadAndPinWhatTheyUse(t *testing.T) {
	files, err := filepath.Glob(workflows + "/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d workflows, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range workflowProblems(text) {
			t.Errorf("%s: %s", file, problem)
		}
	}
}

// Every account of the machine that runs the script can use its databases, and no other machine can.
func TestTheDatabasesOfTheChecksListenOnThisMachineOnly(t *testing.T) {
	text, err := os.ReadFile(root + "/.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{
		"listen_addresses=127.0.0.1", "--bind-address=127.0.0.1", "--bind 127.0.0.1 ",
	} {
		if strings.Count(string(text), option) != 1 {
			t.Errorf(".ci/run must have the option %s once", option)
		}
	}
}

func TestTheWorkflowRunsTheChecksAndLooksForVulnerabilities(t *testing.T) {
	text, err := os.ReadFile(workflows + "/ci.yml")
	if err != nil {
		t.Fatal(err)
	}
	var w workflow
	if err := yaml.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"pull_request", "push"} {
		if _, found := w.On[event]; !found {
			t.Errorf("%s does not start it", event)
		}
	}
	var scripts []string
	for _, job := range w.Jobs {
		for _, step := range job.Steps {
			scripts = append(scripts, step.Run)
		}
	}
	for _, step := range w.Jobs["vulnerabilities"].Steps {
		if strings.HasPrefix(step.Uses, "actions/setup-go@") && step.With["cache"] != "false" {
			t.Error("the search for vulnerabilities uses a cache, which an earlier run has written")
		}
	}
	if !slices.Contains(scripts, ".ci/run") {
		t.Error("no step is .ci/run")
	}
	if !strings.Contains(strings.Join(scripts, "\n"), "/govulncheck@v") {
		t.Error("no step runs govulncheck")
	}
	checks, err := os.ReadFile(root + "/.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(checks), "govulncheck") {
		t.Error(".ci/run must not need the database of vulnerabilities")
	}
}

// TestUnsafeWorkflowsAreFound tests that the first test finds what makes a workflow unsafe.
func TestUnsafeWorkflowsAreFound(t *testing.T) {
	const safe = `
on: {pull_request: , push: {branches: [main]}, schedule: [{cron: "1 2 * * 3"}]}
permissions: {contents: read}
jobs:
  checks:
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    steps:
      - uses: actions/checkout@0123456789abcdef0123456789abcdef01234567
        with: {persist-credentials: false}
      - run: go run example.com/tool@v1.2.3
`
	if found := workflowProblems([]byte(safe)); len(found) > 0 {
		t.Errorf("a safe workflow: %q", found)
	}
	for name, change := range map[string][2]string{
		"another event":        {"pull_request:", "pull_request_target:"},
		"no permissions":       {"permissions: {contents: read}", ""},
		"the right to write":   {"contents: read", "contents: write"},
		"another right":        {"contents: read", "contents: read, packages: read"},
		"all rights":           {"{contents: read}", "write-all"},
		"rights of a job":      {"    timeout", "    permissions: {contents: write}\n    timeout"},
		"an environment":       {"    timeout", "    env: {TOKEN: x}\n    timeout"},
		"no timeout":           {"    timeout-minutes: 60\n", ""},
		"a long timeout":       {"60", "600"},
		"a tag":                {"0123456789abcdef0123456789abcdef01234567", "v7"},
		"a short commit":       {"0123456789abcdef0123456789abcdef01234567", "0123456"},
		"another action":       {"actions/checkout@", "stranger/checkout@"},
		"credentials stay":     {"{persist-credentials: false}", "{}"},
		"a step of two kinds":  {"- run:", "- uses: actions/setup-go@0123456789abcdef0123456789abcdef01234567\n        run:"},
		"an expression":        {"- run: go", "- run: echo ${{ github.head_ref }}; go"},
		"a tool without a pin": {"@v1.2.3", "@latest"},
		"a field twice":        {"jobs:", "permissions: {contents: write}\njobs:"},
		"no YAML":              {"jobs:", "\tjobs:"},
	} {
		unsafe := strings.Replace(safe, change[0], change[1], 1)
		if unsafe == safe {
			t.Errorf("%s: the text %q is missing", name, change[0])
		}
		if len(workflowProblems([]byte(unsafe))) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
}
