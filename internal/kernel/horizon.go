package kernel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// horizon ends watches that go on from a version which the API server has not reached. That is so
// after etcd was restored from an older backup: the server takes such a watch, and says nothing on it
// until the versions have grown past it again. Told that the version has expired, an informer lists
// anew.
//
// A watch that follows one which came to its own end is let through unasked. One that follows a
// broken connection costs a list of one object, by which the server tells its version. One that
// could not be had in between expires in any case: a server that was down may have been set back and
// have grown past the version since, and what the watch would go on from is of another time.
type horizon struct {
	next http.RoundTripper

	mu  sync.Mutex
	due map[string]time.Time // when the last watch of what was to end; zero: it could not be had
}

// watchHorizon puts a horizon between the clients of a configuration and its API server.
func watchHorizon(config *rest.Config) {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return &horizon{next: next, due: map[string]time.Time{}}
	})
}

// RoundTrip implements http.RoundTripper.
func (h *horizon) RoundTrip(req *http.Request) (*http.Response, error) {
	q := req.URL.Query()
	if w := q.Get("watch"); req.Method != http.MethodGet || w != "true" && w != "1" {
		return h.next.RoundTrip(req)
	}
	key := req.URL.Path + "?" + q.Get("labelSelector") + "&" + q.Get("fieldSelector")
	cut, down := h.follows(key, q)
	if from, goesOn := resumes(q); goesOn && down {
		return expired(req, fmt.Sprintf("the API server was down: it may know another history before %d", from)), nil
	} else if goesOn && cut {
		// A server that cannot tell will answer the watch with the same error.
		if now, err := h.ask(req); err == nil && from > now {
			return expired(req, fmt.Sprintf("the API server was set back: it is at version %d, before %d", now, from)), nil
		}
	}
	resp, err := h.next.RoundTrip(req)
	if err != nil && req.Context().Err() == nil || err == nil && resp.StatusCode >= http.StatusInternalServerError {
		h.mu.Lock()
		h.due[key] = time.Time{}
		h.mu.Unlock()
	}
	return resp, err
}

// resumes returns the version from which a watch wants to go on; not ok is one that begins anew.
func resumes(q url.Values) (from uint64, ok bool) {
	from, err := strconv.ParseUint(q.Get("resourceVersion"), 10, 64)
	return from, err == nil && from > 0 && q.Get("sendInitialEvents") != "true"
}

const (
	// early is how much before its due time the end of a watch counts as its own.
	early = 5 * time.Second
	// longest is how many seconds a watch lasts at least that asks for no time.
	longest = 1800
)

// follows notes that a watch begins, and tells whether it follows one that was cut, or one that could
// not be had.
func (h *horizon) follows(key string, q url.Values) (cut, down bool) {
	seconds, err := strconv.Atoi(q.Get("timeoutSeconds"))
	if err != nil {
		seconds = longest
	}
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	before, known := h.due[key]
	h.due[key] = now.Add(time.Duration(seconds) * time.Second)
	return known && now.Before(before.Add(-early)), known && before.IsZero()
}

// ask returns the version that the API server has reached.
func (h *horizon) ask(watch *http.Request) (uint64, error) {
	req := watch.Clone(watch.Context())
	req.URL.RawQuery = url.Values{"limit": {"1"}}.Encode()
	req.Header.Set("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json")
	resp, err := h.next.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var list metav1.PartialObjectMetadataList
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the API server answered %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4<<20)).Decode(&list); err != nil {
		return 0, err
	}
	return strconv.ParseUint(list.ResourceVersion, 10, 64)
}

// expired is what the API server answers when it has forgotten a version.
func expired(req *http.Request, message string) *http.Response {
	body, _ := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Code: http.StatusGone, Reason: metav1.StatusReasonExpired,
		Message: message,
	})
	return &http.Response{
		Status: "410 Gone", StatusCode: http.StatusGone, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)), Request: req,
	}
}
