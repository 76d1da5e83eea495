package bucket

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth/cloud"
)

// keyServiceAccount is the key of the Secret for Google: a key file of a service account.
const keyServiceAccount = "serviceaccount"

// gcs is a bucket of Google Cloud Storage, by its JSON API.
type gcs struct {
	base   string
	bucket string
	client *http.Client
	token  string
}

func openGCP(ctx context.Context, s settings) (storage, time.Time, error) {
	endpoint := cmp.Or(endpoint(s.obj), "storage.googleapis.com")
	var token cloud.Token
	var err error
	if s.secret != nil {
		key := s.secret.Data[keyServiceAccount]
		if len(key) == 0 {
			return nil, time.Time{}, fmt.Errorf("invalid '%s' secret data: required fields '%s'", s.secret.Name, keyServiceAccount)
		}
		if token, err = s.clouds.GCPKey(ctx, key, s.id.Proxy); err != nil {
			return nil, time.Time{}, fmt.Errorf("invalid '%s' secret data: '%s': %w", s.secret.Name, keyServiceAccount, err)
		}
	} else {
		if !ownedBy(host(s.obj), ".googleapis.com", ".s3nsapis.fr") {
			return nil, time.Time{}, fmt.Errorf("spec.endpoint: the identity at gcp is not shown to '%s', which is not a host of Google", endpoint)
		}
		if token, err = s.clouds.GCP(ctx, s.id); err != nil {
			return nil, time.Time{}, fmt.Errorf("failed to get credentials from gcp: %w", err)
		}
	}
	scheme := "https://"
	if s.obj.Spec.Insecure && s.secret != nil {
		scheme = "http://"
	}
	return &gcs{base: scheme + endpoint + "/storage/v1/b/" + url.PathEscape(s.obj.Spec.BucketName) + "/o", bucket: s.obj.Spec.BucketName, client: s.client, token: token.Value}, token.Until, nil
}

// ownedBy tells whether a host lies below one of the domains.
func ownedBy(host string, domains ...string) bool {
	for _, d := range domains {
		if strings.HasSuffix(host, d) {
			return true
		}
	}
	return false
}

// gcsObject is what is asked for of an object.
type gcsObject struct {
	Name       string `json:"name"`
	ETag       string `json:"etag"`
	Size       int64  `json:"size,string"`
	Generation string `json:"generation"`
}

func (g *gcs) list(ctx context.Context, prefix string, visit func(object) error) error {
	q := url.Values{"maxResults": {"1000"}, "fields": {"nextPageToken,items(name,etag,size,generation)"}}
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	for {
		var page struct {
			Items []gcsObject `json:"items"`
			Next  string      `json:"nextPageToken"`
		}
		if err := g.read(ctx, g.base+"?"+q.Encode(), &page); err != nil {
			if errors.Is(err, errGone) {
				err = errNoBucket
			}
			return err
		}
		for _, o := range page.Items {
			if err := visit(object{Key: o.Name, ETag: o.ETag, Size: o.Size, Generation: o.Generation}); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		q.Set("pageToken", page.Next)
	}
}

// open fetches the object. The etag of its metadata is that of the listing if the generation is the same, and else asked
// for; the header ETag of the content is another.
func (g *gcs) open(ctx context.Context, o object) (io.ReadCloser, string, error) {
	address := g.base + "/" + url.PathEscape(o.Key)
	resp, err := g.get(ctx, address+"?alt=media")
	if err != nil {
		return nil, "", err
	}
	generation := resp.Header.Get("X-Goog-Generation")
	if o.Generation != "" && generation == o.Generation {
		return resp.Body, o.ETag, nil
	}
	var now gcsObject
	err = g.read(ctx, address+"?fields=name,etag,size,generation&generation="+url.QueryEscape(generation), &now)
	if err != nil {
		return nil, "", errors.Join(err, resp.Body.Close())
	}
	return resp.Body, now.ETag, nil
}

func (g *gcs) read(ctx context.Context, address string, into any) (err error) {
	resp, err := g.get(ctx, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	return json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(into)
}

func (g *gcs) get(ctx context.Context, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var said struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	_ = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&said) // The status says enough.
	err = fmt.Errorf("the storage answers %s", strings.TrimSpace(fmt.Sprintf("%d %s %s", resp.StatusCode, http.StatusText(resp.StatusCode), said.Error.Message)))
	switch resp.StatusCode {
	case http.StatusNotFound:
		return nil, errGone
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, &deniedError{err}
	}
	return nil, err
}
