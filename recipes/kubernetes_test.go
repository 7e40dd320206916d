package recipes_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/keyfile"
	"github.com/sallyport-go/auth/memstore"
	kubernetesauth "github.com/sallyport-go/auth/recipes/kubernetes"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const manifestFile = "kubernetes/manifest.yaml"

// decodeManifest decodes each document as the API server does with fieldValidation=Strict: unknown and
// duplicate fields are errors, and letter case matters.
func decodeManifest(t *testing.T, text []byte) (objects []runtime.Object, err error) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme,
	} {
		require.NoError(t, add(scheme))
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if err == io.EOF {
			return objects, nil
		}
		require.NoError(t, err)
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

// kubernetesManifest returns the manifest and its objects.
func kubernetesManifest(t *testing.T) (
	text string, secret corev1.Secret, deployment appsv1.Deployment, service corev1.Service,
	budget policyv1.PodDisruptionBudget,
) {
	t.Helper()
	content, err := os.ReadFile(manifestFile)
	require.NoError(t, err)
	objects, err := decodeManifest(t, content)
	require.NoError(t, err)
	require.Len(t, objects, 4)
	return string(content), *objects[0].(*corev1.Secret), *objects[1].(*appsv1.Deployment),
		*objects[2].(*corev1.Service), *objects[3].(*policyv1.PodDisruptionBudget)
}

func TestTheKubernetesManifestIsWhatTheAPIServerExpects(t *testing.T) {
	t.Parallel()
	text, secret, deployment, service, budget := kubernetesManifest(t)
	pod := deployment.Spec.Template
	require.Equal(t, pod.Labels, deployment.Spec.Selector.MatchLabels)
	require.Equal(t, pod.Labels, service.Spec.Selector)
	require.Equal(t, pod.Labels, budget.Spec.Selector.MatchLabels)
	require.Greater(t, *deployment.Spec.Replicas, budget.Spec.MaxUnavailable.IntVal,
		"one pod at least must stay")

	app := pod.Spec.Containers[0]
	require.Equal(t, service.Spec.Ports[0].TargetPort.StrVal, app.Ports[0].Name)
	svc := newFixture(t).svc
	for name, probe := range map[string]*corev1.Probe{
		"/livez": app.LivenessProbe, "/readyz": app.ReadinessProbe,
	} {
		require.Equal(t, name, probe.HTTPGet.Path)
	}
	for _, probe := range []*corev1.Probe{app.StartupProbe, app.LivenessProbe, app.ReadinessProbe} {
		require.Equal(t, app.Ports[0].Name, probe.HTTPGet.Port.StrVal)
		w := httptest.NewRecorder()
		kubernetesauth.Handler(svc).ServeHTTP(w, httptest.NewRequest("GET", probe.HTTPGet.Path, nil))
		require.Equal(t, http.StatusOK, w.Code, probe.HTTPGet.Path)
	}

	volume, mount := pod.Spec.Volumes[0], app.VolumeMounts[0]
	require.Equal(t, volume.Name, mount.Name)
	require.Empty(t, mount.SubPath)
	require.Equal(t, secret.Name, volume.Secret.SecretName)
	require.EqualValues(t, 0o440, *volume.Secret.DefaultMode)
	for name := range secret.StringData {
		require.Contains(t, strings.Join(app.Args, " ")+" ", "="+mount.MountPath+"/"+name+" ")
	}
	require.Greater(t, time.Duration(*pod.Spec.TerminationGracePeriodSeconds)*time.Second,
		time.Duration(app.Lifecycle.PreStop.Sleep.Seconds)*time.Second+15*time.Second,
		"Serve waits for 15 seconds")

	page, err := os.ReadFile("../docs/kubernetes.md")
	require.NoError(t, err)
	require.Contains(t, string(page), "```yaml\n"+text+"```\n")
}

// TestThePodsMayRunInARestrictedNamespace has the rules of the Pod Security Standard "restricted".
func TestThePodsMayRunInARestrictedNamespace(t *testing.T) {
	t.Parallel()
	_, _, deployment, _, _ := kubernetesManifest(t)
	spec := deployment.Spec.Template.Spec
	require.True(t, *spec.SecurityContext.RunAsNonRoot)
	require.NotZero(t, *spec.SecurityContext.RunAsUser)
	require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, spec.SecurityContext.SeccompProfile.Type)
	for _, container := range spec.Containers {
		require.False(t, *container.SecurityContext.AllowPrivilegeEscalation)
		require.Equal(t, []corev1.Capability{"ALL"}, container.SecurityContext.Capabilities.Drop)
		require.Empty(t, container.SecurityContext.Capabilities.Add)
	}
	require.False(t, spec.HostNetwork || spec.HostPID || spec.HostIPC)
}

func TestAManifestWithAnUnknownFieldIsRefused(t *testing.T) {
	t.Parallel()
	text, _, _, _, _ := kubernetesManifest(t)
	for _, change := range [][2]string{
		{"livenessProbe:", "livenesProbe:"},
		{"livenessProbe:", "LivenessProbe:"},
		{"readOnlyRootFilesystem: true", "readOnlyRootFilesystem: true\n            readOnlyRootFilesystem: true"},
		{"replicas: 3", "replicas: three"},
		{"policy/v1", "policy/v1beta1"},
	} {
		changed := strings.Replace(text, change[0], change[1], 1)
		require.NotEqual(t, text, changed)
		_, err := decodeManifest(t, []byte(changed))
		require.Error(t, err, change[1])
	}
}

// secretVolume is a directory in which the files of a Secret are as Kubernetes makes them: app.keys is a link
// to ..data/app.keys, and ..data is a link to a directory. If the Secret changes, Kubernetes makes another
// directory, and atomically replaces the link ..data.
type secretVolume struct{ dir string }

func (v secretVolume) keys() string { return filepath.Join(v.dir, "app.keys") }

func (v secretVolume) write(t *testing.T, content string) {
	t.Helper()
	version := "..2026_" + rand.Text()
	require.NoError(t, os.Mkdir(filepath.Join(v.dir, version), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(v.dir, version, "app.keys"), []byte(content), 0o440))
	link := filepath.Join(v.dir, "..data")
	old, _ := os.Readlink(link)
	require.NoError(t, os.Symlink(version, link+"_tmp"))
	require.NoError(t, os.Rename(link+"_tmp", link))
	if old == "" {
		require.NoError(t, os.Symlink("..data/app.keys", v.keys()))
		return
	}
	require.NoError(t, os.RemoveAll(filepath.Join(v.dir, old)))
}

// newKeyFile returns the content of a key file with a new key of each kind.
func newKeyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.keys")
	_, err := keyfile.ReadOrCreate(path, nil)
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

// newPod returns a service with the keys in the volume.
func newPod(t *testing.T, store auth.Store, volume secretVolume, log *slog.Logger) *auth.Service {
	t.Helper()
	keys, err := keyfile.Read(volume.keys(), log)
	require.NoError(t, err)
	svc, err := auth.New(store, auth.Config{
		Issuer: "https://api.example.com", SigningKeys: keys.Signing, SealingKeys: keys.Sealing,
		Credentials: auth.CredentialConfig{Peppers: keys.Peppers}, Proxies: auth.NoProxies(), Logger: log,
	})
	require.NoError(t, err)
	return svc
}

func TestAllPodsFollowASecretWithoutARestart(t *testing.T) {
	volume := secretVolume{t.TempDir()}
	first, second := newKeyFile(t), newKeyFile(t)
	volume.write(t, first)
	synctest.Test(t, func(t *testing.T) {
		var text lockedBuffer
		log := slog.New(slog.NewTextHandler(&text, nil))
		store := memstore.New()
		pods := []*auth.Service{newPod(t, store, volume, log), newPod(t, store, volume, log)}
		made, err := pods[0].Register(t.Context(), auth.ByHost("setup"), auth.UserParams{Username: "alice"})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		for _, pod := range pods {
			go kubernetesauth.FollowKeys(ctx, pod, volume.keys(), log)
		}
		// accepted tells which pods accept a new token of the first pod.
		accepted := func() (answers []bool) {
			token, err := pods[0].SignIn(ctx, made.User.ID, auth.LoginOptions{})
			require.NoError(t, err)
			r := httptest.NewRequest("GET", "/hello", nil)
			r.Header.Set("Authorization", "Bearer "+token.Bearer.Reveal())
			for _, pod := range pods {
				w := httptest.NewRecorder()
				kubernetesauth.Handler(pod).ServeHTTP(w, r)
				answers = append(answers, w.Code == http.StatusOK)
			}
			return answers
		}
		signer := func(pod *auth.Service) string {
			token, err := pod.SignIn(ctx, made.User.ID, auth.LoginOptions{})
			require.NoError(t, err)
			header, _, _ := strings.Cut(token.Bearer.Reveal(), ".")
			return header
		}
		require.Equal(t, []bool{true, true}, accepted())
		earlier := signer(pods[0])

		volume.write(t, second)
		require.Equal(t, earlier, signer(pods[1]), "no pod has read the file yet")
		time.Sleep(11 * time.Second)
		require.NotEqual(t, earlier, signer(pods[0]))
		require.Equal(t, signer(pods[0]), signer(pods[1]))
		require.Equal(t, []bool{true, true}, accepted())

		later := signer(pods[0])
		volume.write(t, "{not a key file")
		time.Sleep(11 * time.Second)
		require.Equal(t, later, signer(pods[0]), "a broken file changes nothing")
		require.Contains(t, text.String(), "the service keeps its earlier signing keys")

		volume.write(t, first)
		time.Sleep(11 * time.Second)
		require.Equal(t, earlier, signer(pods[0]), "a file that is correct again is followed")
		require.Equal(t, earlier, signer(pods[1]))
	})
}

func TestAPodEndsAfterItsRunningRequests(t *testing.T) {
	volume := secretVolume{t.TempDir()}
	volume.write(t, newKeyFile(t))
	log := slog.New(slog.DiscardHandler)
	svc := newPod(t, memstore.New(), volume, log)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, terminate := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- kubernetesauth.Serve(ctx, svc, volume.keys(), listener, log) }()

	// The server asks for the body of this request (100 Continue) when it handles it. The request then runs
	// until the client has sent the body.
	body, send := io.Pipe()
	running, answered := make(chan struct{}), make(chan int, 1)
	url := "http://" + listener.Addr().String()
	traced := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got100Continue: func() { close(running) },
	})
	request, err := http.NewRequestWithContext(traced, http.MethodPost, url+"/auth/users/login", body)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Expect", "100-continue")
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	t.Cleanup(transport.CloseIdleConnections)
	go func() {
		response, err := transport.RoundTrip(request)
		if err != nil {
			answered <- 0
			return
		}
		response.Body.Close()
		answered <- response.StatusCode
	}()
	<-running
	response, err := http.Get(url + "/readyz")
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)

	terminate()
	require.Eventually(t, func() bool {
		connection, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			connection.Close()
		}
		return err != nil
	}, 10*time.Second, time.Millisecond, "the pod accepts no new connections")
	select {
	case err := <-ended:
		t.Fatal("the pod ended before the request: ", err)
	default:
	}
	_, err = send.Write([]byte(`{"access_key": "x", "access_secret": "y"}`))
	require.NoError(t, err)
	require.NoError(t, send.Close())
	require.Equal(t, http.StatusUnauthorized, <-answered)
	require.NoError(t, <-ended)
}
