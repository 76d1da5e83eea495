package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// fileServer serves files on loopback while a cluster is tried: charts, archives, and buckets by as much of S3 as a
// reader needs.
type fileServer struct {
	host   string
	server *http.Server

	mu      sync.Mutex
	content map[string][]byte
	buckets map[string]*tree
}

func serveFiles() (*fileServer, error) {
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &fileServer{host: listener.Addr().String(), content: map[string][]byte{}, buckets: map[string]*tree{}}
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	go func() { _ = f.server.Serve(listener) }() // it ends with close
	return f, nil
}

func (f *fileServer) close() { _ = f.server.Close() }

// put serves a file in a directory of its own, whose address it returns.
func (f *fileServer) put(dir, name string, content []byte) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content["/"+dir+"/"+name] = content
	return "http://" + f.host + "/" + dir
}

func (f *fileServer) bucket(name string, t *tree) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buckets[name] = t
}

// ServeHTTP implements http.Handler.
func (f *fileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	content, ok := f.content[path.Clean(r.URL.Path)]
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	t := f.buckets[name]
	f.mu.Unlock()
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "only for reading", http.StatusMethodNotAllowed)
	case ok:
		respond(w, r, content)
	case t == nil:
		http.NotFound(w, r)
	case key == "":
		inBucket(w, r, name, t)
	default:
		object(w, r, t, key)
	}
}

func respond(w http.ResponseWriter, r *http.Request, content []byte) {
	w.Header().Set("ETag", `"`+etag(content)+`"`)
	http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(content))
}

func etag(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:16])
}

// listing is the answer of S3 to who lists a bucket.
type listing struct {
	XMLName     xml.Name `xml:"ListBucketResult"`
	Name        string
	Prefix      string
	KeyCount    int
	IsTruncated bool
	Contents    []listed
}

type listed struct {
	Key          string
	ETag         string
	Size         int
	LastModified string
}

func inBucket(w http.ResponseWriter, r *http.Request, name string, t *tree) {
	query := r.URL.Query()
	var answer any = struct {
		XMLName xml.Name `xml:"LocationConstraint"`
	}{}
	if !query.Has("location") {
		page, err := list(name, query.Get("prefix"), t)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer = page
	}
	text, err := xml.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	_, _ = w.Write(append([]byte(xml.Header), text...)) // the client is gone
}

func list(name, prefix string, t *tree) (*listing, error) {
	names, err := t.files()
	if err != nil {
		return nil, err
	}
	page := &listing{Name: name, Prefix: prefix}
	for _, key := range names {
		content, err := readFile(t, key)
		if err != nil || !strings.HasPrefix(key, prefix) {
			continue // a link that leads nowhere
		}
		page.Contents = append(page.Contents, listed{key, `"` + etag(content) + `"`, len(content), time.Unix(1, 0).UTC().Format(time.RFC3339)})
	}
	page.KeyCount = len(page.Contents)
	return page, nil
}

func object(w http.ResponseWriter, r *http.Request, t *tree, key string) {
	content, err := readFile(t, strings.TrimPrefix(path.Clean("/"+key), "/"))
	if err != nil {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(xml.Header + "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"))
		return
	}
	respond(w, r, content)
}
