package auth

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
)

func TestTransports(t *testing.T) {
	t.Parallel()
	var ways Transports
	created := 0
	get := func(key string) *http.Transport {
		t.Helper()
		got, err := ways.Get(key, func() (*http.Transport, error) { created++; return &http.Transport{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	refused := errors.New("no such file")
	if _, err := ways.Get("0", func() (*http.Transport, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("error = %v", err)
	}
	first, second := get("0"), get("1")
	for i := 2; i < maxTransports; i++ {
		get(fmt.Sprint(i))
	}
	if get("0") != first || created != maxTransports {
		t.Errorf("%d transports for %d keys", created, maxTransports)
	}
	get("one more")
	if get("0") != first {
		t.Error("the one that was used a moment ago has gone")
	}
	if get("1") == second {
		t.Error("the one unused for longest is still there")
	}
	ways.Close()
	if get("0") == first {
		t.Error("something is kept after the end")
	}
}
