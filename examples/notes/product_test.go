package notes_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// maxLines is the maximum number of lines of Go in the product, without its tests.
const maxLines = 499

func TestTheProductIsSmall(t *testing.T) {
	t.Parallel()
	lines := map[bool]int{} // by whether the file is a test
	for _, pattern := range []string{"*.go", "cmd/*/*.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			lines[strings.HasSuffix(file, "_test.go")] += bytes.Count(text, []byte("\n"))
		}
	}
	t.Logf("%d lines of Go, and %d lines of tests", lines[false], lines[true])
	require.LessOrEqual(t, lines[false], maxLines)
}

// composeFile has the fields of a compose file that this one uses. Others are refused, because they may be
// misspelled.
type composeFile struct {
	Services map[string]struct {
		Build struct {
			Context    string
			Dockerfile string
		}
		Image           string
		Command         []string
		Environment     map[string]string
		Ports           []string
		Volumes         []string
		ReadOnly        bool                                  `yaml:"read_only"`
		CapDrop         []string                              `yaml:"cap_drop"`
		SecurityOpt     []string                              `yaml:"security_opt"`
		DependsOn       map[string]struct{ Condition string } `yaml:"depends_on"`
		Restart         string
		StopGracePeriod string `yaml:"stop_grace_period"`
		Healthcheck     struct {
			Test     []string
			Interval string
			Retries  int
		}
	}
	Volumes map[string]struct{}
}

func TestTheComposeFileFitsTheProgram(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("compose.yaml")
	require.NoError(t, err)
	var file composeFile
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&file))

	service := file.Services["notes"]
	require.FileExists(t, filepath.Join(service.Build.Context, service.Build.Dockerfile))
	require.FileExists(t, filepath.Join(service.Build.Context, "go.mod"))
	main, err := os.ReadFile("cmd/notesd/main.go")
	require.NoError(t, err)
	for _, argument := range service.Command {
		if name, isFlag := strings.CutPrefix(argument, "-"); isFlag {
			require.Contains(t, string(main), `"`+name+`", "`)
		}
	}
	require.True(t, service.ReadOnly)
	require.Equal(t, []string{"ALL"}, service.CapDrop)
	for name, s := range file.Services {
		for _, volume := range s.Volumes {
			volume, _, _ = strings.Cut(volume, ":")
			require.Contains(t, file.Volumes, volume, name)
		}
		for other := range s.DependsOn {
			require.NotEmpty(t, file.Services[other].Healthcheck.Test, other)
		}
		for _, port := range s.Ports {
			require.Regexp(t, `^127\.0\.0\.1:`, port, "the service without TLS is only for this machine")
		}
		for variable, value := range s.Environment {
			if strings.Contains(variable, "PASSWORD") {
				require.Regexp(t, `^\$\{POSTGRES_PASSWORD:\?`, value, "no password has a default")
			}
		}
	}
}

func TestACopyOfTheProductIsAModuleOfItsOwn(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	marked := regexp.MustCompile("(?s)<!-- run: copied-product -->\n```sh\n(.*)\ngo mod tidy\n```")
	block := marked.FindSubmatch(text)
	require.Len(t, block, 2)
	library, err := filepath.Abs("../..")
	require.NoError(t, err)
	copied := filepath.Join(t.TempDir(), "notes")
	require.NoError(t, os.CopyFS(copied, os.DirFS(".")))
	const module = "github.com/sallyport-go/auth"
	for _, script := range []string{
		string(block[1]),
		"go mod edit -replace=" + module + "=" + library + // the version to test is not released
			" -replace=" + module + "/otelauth=" + filepath.Join(library, "otelauth"),
		"go vet ./...",
	} {
		shell := exec.Command("sh", "-eu", "-c", script)
		shell.Dir = copied
		shell.Env = append(os.Environ(), "GOWORK=off")
		output, err := shell.CombinedOutput()
		require.NoError(t, err, "%s\n%s", script, output)
	}
	compose, err := os.ReadFile(filepath.Join(copied, "compose.yaml"))
	require.NoError(t, err)
	var file composeFile
	require.NoError(t, yaml.Unmarshal(compose, &file))
	build := file.Services["notes"].Build
	require.Equal(t, ".", build.Context)
	dockerfile, err := os.ReadFile(filepath.Join(copied, build.Dockerfile))
	require.NoError(t, err)
	_, instructions, _ := strings.Cut(string(dockerfile), "FROM ")
	require.NotContains(t, instructions, "examples/")
}

func TestTheImageHasOnlyTheProgramAndNoRoot(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	stages := regexp.MustCompile(`(?m)^FROM `).Split(string(text), -1)
	require.Len(t, stages, 3, "a stage that builds, and the image")
	last := stages[2]
	require.True(t, strings.HasPrefix(last, "scratch\n"))
	require.NotContains(t, last, "\nRUN ")
	require.Regexp(t, `(?m)^USER [1-9]\d*:[1-9]\d*$`, last)
	for _, line := range regexp.MustCompile(`(?m)^COPY .*`).FindAllString(last, -1) {
		require.Contains(t, line, "--from=build")
	}
}

// The go command only prints the steps of the build, because without cgo it would compile SQLite again.
func TestTheDockerfileBuildsAPackageThatExists(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^ +(CGO_ENABLED=0 go build) (.* -o /out/notesd \./\S+)$`).FindSubmatch(text)
	require.NotNil(t, line)
	out, err := exec.Command("sh", "-c", string(line[1])+" -n "+string(line[2])).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "/out/notesd")
}
