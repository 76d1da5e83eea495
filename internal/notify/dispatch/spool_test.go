package dispatch

import (
	"fmt"
	"strings"
	"testing"
)

// A spool for a place of bounded size keeps the newest.
func TestEncodeFits(t *testing.T) {
	t.Parallel()
	var items []Item
	for i := range 3000 {
		one := item("p", fmt.Sprint("app", i), strings.Repeat(fmt.Sprint(i*7919), 20))
		items = append(items, one)
	}
	data, dropped, err := Encode(items, 20_000)
	if err != nil || len(data) > 20_000 || dropped == 0 || dropped > 2900 {
		t.Fatalf("%d bytes, %d dropped, %v", len(data), dropped, err)
	}
	back, err := Decode(data)
	if err != nil || len(back) != len(items)-dropped || back[len(back)-1].Event.Message != items[2999].Event.Message {
		t.Errorf("%d of %d items, %v", len(back), len(items)-dropped, err)
	}
	if whole, dropped, err := Encode(items[:5], 20_000); err != nil || dropped != 0 || len(whole) == 0 {
		t.Errorf("%d dropped, %v", dropped, err)
	}
	if _, err := Decode([]byte("not gzip")); err == nil {
		t.Error("something else is read")
	}
}

// What is packed is bounded by what it is unpacked, too: texts that repeat themselves shrink a lot.
func TestEncodeIsReadAsAWhole(t *testing.T) {
	t.Parallel()
	var items []Item
	for i := range 400 {
		items = append(items, large("p", "app", fmt.Sprint(i), 256<<10))
	}
	data, dropped, err := Encode(items, 560<<10)
	if err != nil || dropped < 300 {
		t.Fatalf("%d dropped, %v", dropped, err)
	}
	back, err := Decode(data)
	if err != nil || len(back) != len(items)-dropped || back[len(back)-1].Event.Message != "399" {
		t.Errorf("%d of %d items, %v", len(back), len(items)-dropped, err)
	}
}
