package bucket

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/cloud/cloudtest"
)

// hosts leads requests to handlers by host, and the rest to the token endpoints of the clouds.
type hosts map[string]http.HandlerFunc

// RoundTrip implements http.RoundTripper.
func (h hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	serve := h[r.URL.Host]
	if serve == nil {
		return (&cloudtest.Clouds{}).RoundTrip(r)
	}
	header := http.Header{} // The SDK of Azure writes names as they are not canonical; a server gets them as they are.
	for name, values := range r.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	r.Header = header
	w := httptest.NewRecorder()
	serve(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func settingsFor(t *testing.T, spec sourcev1.BucketSpec, data map[string]string, transport http.RoundTripper) settings {
	t.Helper()
	s := settings{
		obj:    &sourcev1.Bucket{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "b"}, Spec: spec},
		client: &http.Client{Transport: transport, CheckRedirect: sameHost},
		clouds: cloud.New(cloud.Options{Transport: transport, Getenv: func(string) string { return "" }}),
	}
	if data != nil {
		s.secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "creds"}, Data: map[string][]byte{}}
		for k, v := range data {
			s.secret.Data[k] = []byte(v)
		}
	}
	return s
}

// read lists a storage and fetches everything.
func read(t *testing.T, st storage, prefix string) map[string]string {
	t.Helper()
	got := map[string]string{}
	var objects []object
	if err := st.list(context.Background(), prefix, func(o object) error { objects = append(objects, o); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		body, etag, err := st.open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		_ = body.Close()
		if etag != o.ETag || strings.Contains(etag, `"`) {
			t.Errorf("%s has the etag %q in the listing and %q when fetched", o.Key, o.ETag, etag)
		}
		got[o.Key] = string(text)
	}
	return got
}

const (
	azureHost = "acme.blob.core.windows.net"
	azureKey  = "Y2FuYXJ5LWFjY291bnQta2V5"
	azureSAS  = "sv=2024-01-01&sig=canary-sas-signature"
)

// azureBlobs is a container "sample" as the REST reference of Blob Storage has it: List Blobs in pages, Get Blob.
func azureBlobs(files map[string]string, allowed func(*http.Request) bool) http.HandlerFunc {
	fail := func(w http.ResponseWriter, status int, code string) {
		w.Header().Set("x-ms-error-code", code)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>no</Message></Error>`, code)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		container, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		q := r.URL.Query()
		switch content, found := files[key]; {
		case r.Header.Get("x-ms-version") == "":
			fail(w, http.StatusBadRequest, "MissingRequiredHeader")
		case !allowed(r):
			fail(w, http.StatusForbidden, "AuthenticationFailed")
		case container != "sample":
			fail(w, http.StatusNotFound, "ContainerNotFound")
		case key == "" && q.Get("restype") == "container" && q.Get("comp") == "list":
			listBlobs(w, files, q)
		case !found:
			fail(w, http.StatusNotFound, "BlobNotFound")
		default:
			w.Header().Set("ETag", fmt.Sprintf(`"0x%X"`, len(content)))
			fmt.Fprint(w, content)
		}
	}
}

// listBlobs gives two blobs a page.
func listBlobs(w http.ResponseWriter, files map[string]string, q url.Values) {
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(k string) bool { return !strings.HasPrefix(k, q.Get("prefix")) || k < q.Get("marker") })
	next := ""
	if len(keys) > 2 {
		next, keys = keys[2], keys[:2]
	}
	var items strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&items, "<Blob><Name>%s</Name><Properties><Etag>0x%X</Etag><Content-Length>%d</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>", k, len(files[k]), len(files[k]))
	}
	w.Header().Set("Content-Type", "application/xml")
	fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://%s/" ContainerName="sample"><Blobs>%s</Blobs><NextMarker>%s</NextMarker></EnumerationResults>`, azureHost, items.String(), next)
}

// sharedKey checks a signature of the account's key, by the steps that Azure publishes.
func sharedKey(r *http.Request) bool {
	var signed []string
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ms-") {
			signed = append(signed, lower+":"+r.Header.Get(name))
		}
	}
	slices.Sort(signed)
	resource := "/acme" + r.URL.EscapedPath()
	for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
		resource += "\n" + strings.ToLower(name) + ":" + strings.Join(r.URL.Query()[name], ",")
	}
	get := r.Header.Get
	text := strings.Join([]string{
		r.Method, get("Content-Encoding"), get("Content-Language"), "", get("Content-MD5"), get("Content-Type"), get("Date"), get("If-Modified-Since"),
		get("If-Match"), get("If-None-Match"), get("If-Unmodified-Since"), get("Range"), strings.Join(signed, "\n"), resource,
	}, "\n")
	key, _ := base64.StdEncoding.DecodeString(azureKey)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return get("Authorization") == "SharedKey acme:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func bearer(r *http.Request, token string) bool {
	return r.Header.Get("Authorization") == "Bearer "+token
}

// entraForSDK is what the SDK asks of Entra ID before and beside a token.
func entraForSDK(w http.ResponseWriter, r *http.Request) {
	const base = "https://login.microsoftonline.com/" + cloudtest.TenantID
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/discovery/instance"):
		fmt.Fprintf(w, `{"tenant_discovery_endpoint":"%s/v2.0/.well-known/openid-configuration","metadata":[{"preferred_network":"login.microsoftonline.com","preferred_cache":"login.windows.net","aliases":["login.microsoftonline.com"]}]}`, base)
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		fmt.Fprintf(w, `{"issuer":"%s/v2.0","authorization_endpoint":"%s/oauth2/v2.0/authorize","token_endpoint":"%s/oauth2/v2.0/token"}`, base, base, base)
	default:
		resp, err := (&cloudtest.Clouds{}).RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}
}

func TestAzure(t *testing.T) {
	t.Parallel()
	files := map[string]string{"a.yaml": "a", "d/b.yaml": "bb", "d/c d.yaml": "ccc", "e.yaml": "eeee", "z.yaml": "zzzzz"}
	managed := cloudtest.AzureToken + "/https://storage.azure.com/" + cloudtest.ClientID
	node := cloudtest.AzureToken + "/https://storage.azure.com/"
	principal := cloudtest.AzureToken + "/https://storage.azure.com/.default"
	for _, tt := range []struct {
		reason  string
		data    map[string]string
		allowed func(*http.Request) bool
		err     string
	}{
		{"account key", map[string]string{"accountKey": azureKey}, sharedKey, ""},
		{"SAS key", map[string]string{"sasKey": "?" + azureSAS}, func(r *http.Request) bool {
			return r.URL.Query().Get("sig") == "canary-sas-signature" && r.Header.Get("Authorization") == ""
		}, ""},
		{"managed identity", map[string]string{"clientId": cloudtest.ClientID}, func(r *http.Request) bool { return bearer(r, managed) }, ""},
		{"service principal", map[string]string{"tenantId": cloudtest.TenantID, "clientId": cloudtest.ClientID, "clientSecret": "canary-client-secret"}, func(r *http.Request) bool {
			return bearer(r, principal) || strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "+cloudtest.AzureToken)
		}, ""},
		{"the node", nil, func(r *http.Request) bool { return bearer(r, node) }, ""},
		{"nothing of use", map[string]string{"other": "x"}, sharedKey, "invalid 'creds' secret data: requires a 'sasKey' or 'accountKey' field"},
		{"a key that is none", map[string]string{"accountKey": "###"}, sharedKey, "'accountKey' is not base64"},
		{"a certificate that is none", map[string]string{"tenantId": cloudtest.TenantID, "clientId": cloudtest.ClientID, "clientCertificate": "x"}, sharedKey, "'clientCertificate' cannot be read"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			transport := hosts{azureHost: azureBlobs(files, tt.allowed), "login.microsoftonline.com": entraForSDK}
			s := settingsFor(t, sourcev1.BucketSpec{Provider: "azure", BucketName: "sample", Endpoint: "https://" + azureHost}, tt.data, transport)
			st, _, err := openAzure(context.Background(), s)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, st, ""); !maps.Equal(got, files) {
				t.Errorf("holds %v", got)
			}
			if got := read(t, st, "d/"); len(got) != 2 {
				t.Errorf("below the prefix it holds %v", got)
			}
			if _, _, err := st.open(context.Background(), object{Key: "gone"}); !errors.Is(err, errGone) {
				t.Errorf("an object that has vanished: %v", err)
			}
		})
	}
}

// TestAzureAddress merges the query of the endpoint with that of the Secret, which wins.
func TestAzureAddress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ endpoint, sas, want string }{
		{"https://acme.example", "", "https://acme.example/c"},
		{"https://acme.example/", "sv=1&sig=a%2Bb", "https://acme.example/c?sv=1&sig=a%2Bb"},
		{"https://acme.example/?sv=0&sp=r", "", "https://acme.example/c?sv=0&sp=r"},
		{"https://acme.example?sv=0&sp=r", "sv=1&sig=a%2Bb", "https://acme.example/c?sig=a%2Bb&sp=r&sv=1"},
	} {
		got, err := containerURL(tc.endpoint, "c")
		if err == nil && tc.sas != "" {
			got, err = withSAS(got, tc.sas)
		}
		if err != nil || got != tc.want {
			t.Errorf("%s and %s: %s, %v", tc.endpoint, tc.sas, got, err)
		}
	}
}

func TestAzureErrors(t *testing.T) {
	t.Parallel()
	transport := hosts{azureHost: azureBlobs(nil, func(r *http.Request) bool { return r.URL.Query().Get("sig") == "canary-sas-signature" })}
	open := func(bucket, sas string) storage {
		s := settingsFor(t, sourcev1.BucketSpec{Provider: "azure", BucketName: bucket, Endpoint: "https://" + azureHost}, map[string]string{"sasKey": sas}, transport)
		st, _, err := openAzure(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	visit := func(object) error { return nil }
	if err := open("absent", azureSAS).list(context.Background(), "", visit); !errors.Is(err, errNoBucket) {
		t.Errorf("a container that is not there: %v", err)
	}
	if err := open("sample", "sig=canary-wrong").list(context.Background(), "", visit); !isDenied(err) || strings.Contains(explain(&sourcev1.Bucket{}, err).Error(), "canary") {
		t.Errorf("a wrong signature: %v", err)
	}
	wrong := settingsFor(t, sourcev1.BucketSpec{Provider: "azure", BucketName: "sample", Endpoint: "https://" + azureHost},
		map[string]string{"tenantId": cloudtest.TenantID, "clientId": cloudtest.ClientID, "clientSecret": "canary-wrong"},
		hosts{azureHost: transport[azureHost], "login.microsoftonline.com": entraForSDK})
	st, _, err := openAzure(context.Background(), wrong)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.list(context.Background(), "", visit); !isDenied(err) || !strings.HasPrefix(err.Error(), "Microsoft Entra ID refuses the credentials: invalid_client: AADSTS700213") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a wrong secret: %v", err)
	}
	s := settingsFor(t, sourcev1.BucketSpec{Provider: "azure", BucketName: "b", Endpoint: "https://evil.example.com"}, nil, transport)
	s.id.Account = &cloud.Account{Namespace: "apps", Name: "sync"}
	if _, _, err := openAzure(context.Background(), s); err == nil || !strings.Contains(err.Error(), "is not shown to 'evil.example.com'") {
		t.Errorf("an identity for another host: %v", err)
	}
}

// gcsObjects is a bucket "sample" of the JSON API: objects.list in pages, objects.get with and without alt=media.
func gcsObjects(files map[string]string, token string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fail := func(status int) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":{"code":%d,"message":"no"}}`, status)
		}
		rest, ok := strings.CutPrefix(r.URL.Path, "/storage/v1/b/sample/o")
		key := strings.TrimPrefix(rest, "/")
		meta := func(key string) map[string]string {
			return map[string]string{"name": key, "etag": "etag-of-" + files[key], "size": fmt.Sprint(len(files[key])), "generation": fmt.Sprint(100 + len(files[key]))}
		}
		_, found := files[key]
		switch {
		case !bearer(r, token):
			fail(http.StatusForbidden)
		case !ok:
			fail(http.StatusNotFound)
		case key == "":
			q := r.URL.Query()
			keys := slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(k string) bool { return !strings.HasPrefix(k, q.Get("prefix")) || k < q.Get("pageToken") })
			page := map[string]any{}
			if len(keys) > 2 {
				page["nextPageToken"], keys = keys[2], keys[:2]
			}
			var items []any
			for _, k := range keys {
				items = append(items, meta(k))
			}
			page["items"] = items
			_ = json.NewEncoder(w).Encode(page)
		case !found:
			fail(http.StatusNotFound)
		case r.URL.Query().Get("alt") == "media":
			w.Header().Set("X-Goog-Generation", meta(key)["generation"])
			w.Header().Set("ETag", "another")
			fmt.Fprint(w, files[key])
		default:
			_ = json.NewEncoder(w).Encode(meta(key))
		}
	}
}

// keyFile is a key file of a service account, as Google's console makes it.
func keyFile(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "proj", "private_key_id": "1", "client_email": "flux@proj.iam.gserviceaccount.com",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": "https://oauth2.googleapis.com/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGCP(t *testing.T) {
	t.Parallel()
	files := map[string]string{"a.yaml": "a", "d/b.yaml": "bb", "d/c d.yaml": "ccc", "e.yaml": "eeee", "z.yaml": "zzzzz"}
	const fromKey = "canary-token-of-the-key"
	// The token endpoint for service accounts: a JWT signed by the key, as Google publishes (RFC 7523).
	oauth := func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || strings.Count(r.Form.Get("assertion"), ".") != 2 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":3599,"token_type":"Bearer"}`, fromKey)
	}
	for _, tt := range []struct {
		reason, token string
		data          map[string]string
	}{
		{"a key file", fromKey, map[string]string{"serviceaccount": keyFile(t)}},
		{"the node", cloudtest.GoogleToken, nil},
	} {
		transport := hosts{"storage.googleapis.com": gcsObjects(files, tt.token), "oauth2.googleapis.com": oauth}
		s := settingsFor(t, sourcev1.BucketSpec{Provider: "gcp", BucketName: "sample", Endpoint: "storage.googleapis.com"}, tt.data, transport)
		st, until, err := openGCP(context.Background(), s)
		if err != nil || until.IsZero() {
			t.Fatalf("%s: until %s, %v", tt.reason, until, err)
		}
		if got := read(t, st, ""); !maps.Equal(got, files) {
			t.Errorf("%s: holds %v", tt.reason, got)
		}
		if got := read(t, st, "d/"); len(got) != 2 {
			t.Errorf("%s: below the prefix it holds %v", tt.reason, got)
		}
		// An object that was replaced after the listing counts with the etag that it was fetched with.
		body, etag, err := st.open(context.Background(), object{Key: "a.yaml", ETag: "old", Generation: "1"})
		if err != nil || etag != "etag-of-a" {
			t.Fatalf("%s: a replaced object has the etag %q, %v", tt.reason, etag, err)
		}
		_ = body.Close()
		if _, _, err := st.open(context.Background(), object{Key: "gone"}); !errors.Is(err, errGone) {
			t.Errorf("%s: an object that has vanished: %v", tt.reason, err)
		}
		s.obj.Spec.BucketName = "absent"
		if st, _, err = openGCP(context.Background(), s); err != nil {
			t.Fatal(err)
		}
		if err := st.list(context.Background(), "", func(object) error { return nil }); !errors.Is(err, errNoBucket) {
			t.Errorf("%s: a bucket that is not there: %v", tt.reason, err)
		}
	}
	s := settingsFor(t, sourcev1.BucketSpec{Provider: "gcp", BucketName: "b", Endpoint: "evil.example.com"}, nil, hosts{})
	if _, _, err := openGCP(context.Background(), s); err == nil || !strings.Contains(err.Error(), "is not shown to 'evil.example.com'") {
		t.Errorf("an identity for another host: %v", err)
	}
}

// TestHostileKeys lays out keys that try to leave the artifact, or that cannot be files together.
func TestHostileKeys(t *testing.T) {
	t.Parallel()
	p := &poll{}
	for _, tt := range []struct {
		keys []string
		err  string
	}{
		{[]string{"../../etc/passwd"}, "holds '..'"},
		{[]string{"a/../../b"}, "holds '..'"},
		{[]string{"a\x00b"}, "holds a NUL"},
		{[]string{"a", "a/b"}, "is a file already"},
		{[]string{"a/b", "a"}, "is a directory already"},
		{[]string{"/"}, "names no file"},
		{[]string{"/a//b/./c"}, ""},
	} {
		var got []fetched
		for _, key := range tt.keys {
			got = append(got, fetched{object: object{Key: key}})
		}
		tree, err := p.tree(got, nil)
		switch {
		case tt.err == "" && (err != nil || !slices.Equal(tree.Paths(), []string{"a/b/c"})):
			t.Errorf("%q: %v", tt.keys, err)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%q: error %v, want %q", tt.keys, err, tt.err)
		}
	}
}

// FuzzKeys holds that no key becomes a path outside of the artifact.
func FuzzKeys(f *testing.F) {
	for _, key := range []string{"a/b", "../a", "/a//b", "a/./b", "a\\..\\b", ".git/config", "\x00"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		tree, err := (&poll{}).tree([]fetched{{object: object{Key: key}}}, nil)
		if err != nil {
			return
		}
		for _, name := range tree.Paths() {
			if strings.HasPrefix(name, "/") || slices.Contains(strings.Split(name, "/"), "..") || strings.ContainsRune(name, 0) {
				t.Errorf("%q becomes %q", key, name)
			}
		}
	})
}

func TestErrorsShowNoQuery(t *testing.T) {
	t.Parallel()
	err := clean(&url.Error{Op: "Get", URL: "https://x/y?sig=canary&se=1", Err: errors.New("refused by https://x/y?sig=canary")})
	if strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the error is %q", err)
	}
}
