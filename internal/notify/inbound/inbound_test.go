package inbound

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// dripping is a body of which the rest never comes.
type dripping struct {
	io.Reader
	until <-chan struct{}
}

func (d *dripping) Read(p []byte) (int, error) {
	if n, err := d.Reader.Read(p); err == nil {
		return n, nil
	}
	<-d.until
	return 0, io.ErrUnexpectedEOF
}

func post(body io.Reader, length int64) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", body)
	r.ContentLength = length
	return r
}

// Clients that announce much and send little keep nobody out.
func TestSlowBodiesHoldWhatTheySent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, end := NewBudget(), make(chan struct{})
		for i := range 500 {
			length := int64(MaxBody)
			if i%2 == 0 {
				length = -1
			}
			go func() {
				_, release, _ := b.Read(httptest.NewRecorder(), post(&dripping{strings.NewReader("{"), end}, length))
				release()
			}()
		}
		synctest.Wait()
		want := bytes.Repeat([]byte("x"), MaxBody)
		began := time.Now()
		body, release, err := b.Read(httptest.NewRecorder(), post(bytes.NewReader(want), -1))
		if err != nil || !bytes.Equal(body, want) || time.Since(began) > 0 {
			t.Errorf("%d bytes after %s: %v", len(body), time.Since(began), err)
		}
		release()
		close(end)
	})
}

// All that is held together has a bound; who comes then is asked to come again.
func TestBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget()
		whole := func() (func(), error) {
			_, release, err := b.Read(httptest.NewRecorder(), post(strings.NewReader(strings.Repeat("x", MaxBody)), MaxBody))
			return release, err
		}
		var held []func()
		for {
			release, err := whole()
			if err != nil {
				if code := Status(err); code != http.StatusServiceUnavailable {
					t.Errorf("%v is answered with %d", err, code)
				}
				release()
				break
			}
			if held = append(held, release); len(held) > 100 {
				t.Fatal("more than 300 MiB are held")
			}
		}
		if len(held) < 10 {
			t.Errorf("%d bodies are held", len(held))
		}
		if body, release, err := b.Read(httptest.NewRecorder(), post(strings.NewReader("{}"), 2)); err != nil || string(body) != "{}" {
			t.Errorf("a small body is not read: %q %v", body, err)
		} else {
			release()
		}
		for _, release := range held {
			release()
		}
		if release, err := whole(); err != nil {
			t.Errorf("nothing is held, and a body is not read: %v", err)
		} else {
			release()
		}
	})
}

func TestBodies(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, firstBytes - 1, firstBytes, firstBytes + 1, firstBytes + stepBytes, firstBytes + 2*stepBytes + 1, MaxBody, MaxBody + 1} {
		for _, announced := range []bool{true, false} {
			t.Run(fmt.Sprint(size, announced), func(t *testing.T) {
				t.Parallel()
				want := bytes.Repeat([]byte("y"), size)
				length := int64(-1)
				if announced {
					length = int64(size)
				}
				b := NewBudget()
				body, release, err := b.Read(httptest.NewRecorder(), post(bytes.NewReader(want), length))
				if size > MaxBody {
					if Status(err) != http.StatusRequestEntityTooLarge {
						t.Errorf("too large: %v", err)
					}
				} else if err != nil || !bytes.Equal(body, want) {
					t.Errorf("%d bytes, %v", len(body), err)
				}
				release()
				if !b.bytes.TryAcquire(bodiesAtOnce) {
					t.Error("something is held after the release")
				}
			})
		}
	}
	broken := post(io.MultiReader(strings.NewReader("{"), &dripping{strings.NewReader(""), closed()}), 100)
	_, release, err := NewBudget().Read(httptest.NewRecorder(), broken)
	if release(); Status(err) != http.StatusBadRequest {
		t.Errorf("a body that ends early: %v", err)
	}
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
