package lfs

//lint:file-ignore ST1005 these errors begin with names

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
)

const (
	mediaType = "application/vnd.git-lfs+json"
	// MaxBatch is how many objects are asked for at once.
	MaxBatch = 100
	// MaxObject is the size in bytes of the largest object that is fetched.
	MaxObject = 4 << 30
	maxAnswer = 8 << 20
)

// Errors that callers tell apart.
var (
	// ErrObject is wrapped when the server lacks an object, or its content is not what the pointer says.
	ErrObject = errors.New("Git LFS object is not usable")
	// ErrTooLarge is wrapped when an object is larger than allowed.
	ErrTooLarge = errors.New("Git LFS object is too large")
)

// Client talks to the LFS server of one repository.
type Client struct {
	endpoint string
	web      *transport.Web
}

// Open finds the server of a remote: the address, if the repository names one, that which the SSH server tells, or else
// the one below the address of the repository. Credentials stay with the host that they are for.
func Open(ctx context.Context, r transport.Remote, a transport.Algorithms, address string) (*Client, error) {
	var header http.Header
	near := r.URL
	switch {
	case address != "":
		r = r.Elsewhere(address)
	case strings.HasPrefix(r.URL, "ssh://"):
		var err error
		if r, header, err = authenticate(ctx, r, a); err != nil {
			return nil, err
		}
		near = r.URL
	default:
		r.URL = strings.TrimSuffix(strings.TrimSuffix(r.URL, "/"), ".git") + ".git/info/lfs"
	}
	web, err := transport.NewWeb(r, header, near)
	if err != nil {
		return nil, fmt.Errorf("Git LFS server '%s': %w", transport.Redact(r.URL), err)
	}
	return &Client{endpoint: strings.TrimSuffix(r.URL, "/"), web: web}, nil
}

// authenticate asks the SSH server where the large files are, and what proves who we are there.
func authenticate(ctx context.Context, r transport.Remote, a transport.Algorithms) (there transport.Remote, header http.Header, err error) {
	out, err := transport.Run(ctx, r, a, "git-lfs-authenticate", "download")
	if err != nil {
		return there, nil, fmt.Errorf("the SSH server of '%s' does not tell where its large files are: %w", transport.Redact(r.URL), err)
	}
	var answer struct {
		Href   string            `json:"href"`
		Header map[string]string `json:"header"`
	}
	if err := json.Unmarshal(out, &answer); err != nil || answer.Href == "" {
		return there, nil, errors.New("the answer of git-lfs-authenticate cannot be parsed")
	}
	header = http.Header{}
	for name, value := range answer.Header {
		header.Set(name, value)
	}
	return transport.Remote{URL: answer.Href, Auth: transport.Auth{CA: r.Auth.CA}, Proxy: r.Proxy}, header, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.web.Close() }

// Source is where an object can be read for a while.
type Source struct {
	Pointer
	href   string
	header map[string]string
	until  time.Time
	err    error
}

// Fresh tells whether the source can still be used.
func (s *Source) Fresh() bool { return s.until.IsZero() || time.Until(s.until) > 10*time.Second }

type object struct {
	OID     string `json:"oid"`
	Size    int64  `json:"size"`
	Actions struct {
		Download *struct {
			Href      string            `json:"href"`
			Header    map[string]string `json:"header"`
			ExpiresIn int64             `json:"expires_in"`
			ExpiresAt *time.Time        `json:"expires_at"`
		} `json:"download"`
	} `json:"actions,omitzero"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Locate asks where objects are, at most MaxBatch. One that the server lacks has a source that fails.
func (c *Client) Locate(ctx context.Context, pointers []Pointer) (map[string]*Source, error) {
	question := map[string]any{"operation": "download", "transfers": []string{"basic"}, "hash_algo": "sha256"}
	type wanted struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	}
	var list []wanted
	for _, p := range pointers {
		list = append(list, wanted(p))
	}
	question["objects"] = list
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint+"/objects/batch", bytes.NewReader(body))
	if err != nil {
		return nil, c.wrap(err)
	}
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("Accept", mediaType)
	resp, err := c.web.Do(req)
	if err != nil {
		return nil, c.wrap(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	var answer struct {
		Transfer string   `json:"transfer"`
		Objects  []object `json:"objects"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return nil, c.wrap(fmt.Errorf("the answer cannot be parsed: %w", err))
	}
	if answer.Transfer != "" && answer.Transfer != "basic" {
		return nil, c.wrap(fmt.Errorf("it wants the transfer '%.50s', which nobody offered", answer.Transfer))
	}
	return sources(pointers, answer.Objects), nil
}

// sources matches the answer with the question; what was not asked for is dropped.
func sources(pointers []Pointer, objects []object) map[string]*Source {
	found := map[string]*Source{}
	for _, p := range pointers {
		found[p.OID] = &Source{Pointer: p, err: errors.New("the server does not mention it")}
	}
	for _, o := range objects {
		s := found[o.OID]
		if s == nil {
			continue
		}
		switch d := o.Actions.Download; {
		case o.Error != nil:
			s.err = fmt.Errorf("the server answers %d %.200q", o.Error.Code, o.Error.Message)
		case d == nil || d.Href == "":
			s.err = errors.New("the server does not tell where to read it")
		default:
			s.href, s.header, s.err = d.Href, d.Header, nil
			if d.ExpiresAt != nil {
				s.until = *d.ExpiresAt
			}
			if d.ExpiresIn > 0 {
				s.until = time.Now().Add(time.Duration(min(d.ExpiresIn, 1<<31)) * time.Second)
			}
		}
	}
	return found
}

// Copy reads the object into w, and fails unless it is what the pointer says.
func (c *Client) Copy(ctx context.Context, s *Source, w io.Writer) error {
	if s.Size > MaxObject {
		return fmt.Errorf("%w: %s has %d bytes, %d are allowed", ErrTooLarge, s.OID, s.Size, int64(MaxObject))
	}
	if s.err != nil {
		return fmt.Errorf("%w: %s: %w", ErrObject, s.OID, s.err)
	}
	at, err := url.Parse(s.href)
	if err != nil {
		return fmt.Errorf("%w: %s: the server gives no valid address", ErrObject, s.OID)
	}
	base, err := url.Parse(c.endpoint)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.ResolveReference(at).String(), nil)
	if err != nil {
		return fmt.Errorf("%w: %s: the server gives no valid address", ErrObject, s.OID)
	}
	for name, value := range s.header {
		req.Header.Set(name, value)
	}
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := c.web.Do(req)
	if err != nil {
		return fmt.Errorf("object %s from '%s': %w", s.OID, req.URL.Host, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(resp.Body, s.Size+1))
	if err != nil {
		return fmt.Errorf("object %s from '%s': %w", s.OID, req.URL.Host, err)
	}
	if n != s.Size || hex.EncodeToString(h.Sum(nil)) != s.OID {
		return fmt.Errorf("%w: what '%s' sends for %s is not what the pointer says", ErrObject, req.URL.Host, s.OID)
	}
	return nil
}

func (c *Client) wrap(err error) error {
	return fmt.Errorf("Git LFS server '%s': %w", transport.Redact(c.endpoint), err)
}
