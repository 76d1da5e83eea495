package meta

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		json   string
		want   time.Duration
		bad    bool
	}{
		"Minutes":    {"the usual form", `"10m"`, 10 * time.Minute, false},
		"Seconds":    {"60s must not become 1m0s on the way through", `"60s"`, time.Minute, false},
		"Escaped":    {"the bytes are kept, not only the value", `"1\u0030m"`, 10 * time.Minute, false},
		"Word":       {"a person's mistake is an error of the object only", `"often"`, 0, true},
		"Unit":       {"days are no unit", `"1d"`, 0, true},
		"Empty":      {"an empty text is no duration", `""`, 0, true},
		"Number":     {"another type too", `60`, 0, true},
		"Object":     {"whatever the type", `{"a":[1,2]}`, 0, true},
		"Negative":   {"v1beta1 accepts it, nothing can wait for less than no time", `"-5m"`, 0, true},
		"Overflow":   {"nor does an absurd value stop the kind", `"99999999999999h"`, 0, true},
		"Long":       {"and a message stays short", `"` + strings.Repeat("x", 5000) + `"`, 0, true},
		"Multi-byte": {"clipping must not fail on what is not ASCII", `"` + strings.Repeat("ü", 200) + `"`, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d Duration
			if err := json.Unmarshal([]byte(tc.json), &d); err != nil {
				t.Fatalf("%s: reading failed: %v", tc.reason, err)
			}
			if d.Duration != tc.want || (d.Err() != nil) != tc.bad {
				t.Errorf("%s: got %v and error %v", tc.reason, d.Duration, d.Err())
			}
			if tc.bad && len(d.Err().Error()) > 300 {
				t.Errorf("%s: the message has %d bytes", tc.reason, len(d.Err().Error()))
			}
			out, err := json.Marshal(d)
			if err != nil || string(out) != tc.json {
				t.Errorf("%s: wrote %s (%v), read %s", tc.reason, out, err, tc.json)
			}
		})
	}
}

func TestDurationSetByProgram(t *testing.T) {
	t.Parallel()
	d := Duration{Raw: `"often"`}
	d.Duration = time.Hour
	if out, _ := json.Marshal(d); string(out) != `"1h0m0s"` || d.Err() != nil {
		t.Errorf("a value that is set must win over the text that was read, got %s, %v", out, d.Err())
	}
	if out, _ := json.Marshal(NewDuration(90 * time.Second)); string(out) != `"1m30s"` {
		t.Errorf("got %s", out)
	}
	var absent *Duration
	if absent.ValueOr(time.Minute) != time.Minute || absent.Err() != nil {
		t.Error("an absent field has its default and no error")
	}
	bad := &Duration{Raw: `"often"`}
	if bad.ValueOr(time.Minute) != time.Minute {
		t.Error("a field that makes no sense has its default")
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		json   string
		bad    bool
	}{
		"Usual":     {"as we write it", `"2026-01-02T03:04:05Z"`, false},
		"Fraction":  {"the fraction is kept", `"2026-01-02T03:04:05.123456Z"`, false},
		"LowerCase": {"the API server accepts it, Go does not", `"2026-01-02t03:04:05z"`, true},
		"Separator": {"the API server accepts any character there", `"2026-01-02T03:04:05x1Z"`, true},
		"Word":      {"an object stored before there was a schema", `"yesterday"`, true},
		"Number":    {"another type", `17`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var v Time
			if err := json.Unmarshal([]byte(tc.json), &v); err != nil {
				t.Fatalf("%s: reading failed: %v", tc.reason, err)
			}
			if (v.Err() != nil) != tc.bad || v.IsZero() != tc.bad {
				t.Errorf("%s: got %v and error %v", tc.reason, v.Time, v.Err())
			}
			if out, err := json.Marshal(v); err != nil || string(out) != tc.json {
				t.Errorf("%s: wrote %s (%v), read %s", tc.reason, out, err, tc.json)
			}
			if !equality.Semantic.DeepEqual(v, *v.DeepCopy()) {
				t.Errorf("%s: a copy is not equal", tc.reason)
			}
		})
	}
}

// holder has the lenient types as a kind has them.
type holder struct {
	D  Duration   `json:"d"`
	P  *Duration  `json:"p,omitempty"`
	T  Time       `json:"t"`
	PT *Time      `json:"pt,omitempty"`
	C  Conditions `json:"c,omitempty"`
	V  *JSON      `json:"v,omitempty"`
}

func TestUnstructuredConversion(t *testing.T) {
	t.Parallel()
	const doc = `{"d":"60s","p":"often","pt":"2026-01-02T03:04:05Z","t":"2026-01-02t03:04:05z","v":{"a":1,"b":[true]}}`
	var u map[string]any
	if err := json.Unmarshal([]byte(doc), &u); err != nil {
		t.Fatal(err)
	}
	var h holder
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u, &h); err != nil {
		t.Fatalf("from unstructured: %v", err)
	}
	back, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&h)
	if err != nil {
		t.Fatalf("to unstructured: %v", err)
	}
	out, err := json.Marshal(back)
	if err != nil || string(out) != doc {
		t.Errorf("got  %s (%v)\nwant %s", out, err, doc)
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	var c Conditions
	const doc = `[{"type":"Ready","status":"True","reason":"Succeeded","message":"ok","observedGeneration":3,"lastTransitionTime":"2026-01-02t03:04:05z"},
		{"type":"Stalled","status":"False","reason":"X","message":"","lastTransitionTime":"2026-01-02T03:04:05Z"}]`
	if err := json.Unmarshal([]byte(doc), &c); err != nil {
		t.Fatalf("one bad time must not stop the kind: %v", err)
	}
	ready, stalled := c.Get("Ready"), c.Get("Stalled")
	if ready == nil || ready.Message != "ok" || ready.ObservedGeneration != 3 || !ready.LastTransitionTime.IsZero() {
		t.Errorf("Ready: got %+v", ready)
	}
	if stalled == nil || stalled.LastTransitionTime.Year() != 2026 {
		t.Errorf("the good time of the other must be read, got %+v", stalled)
	}
	if c.Get("Other") != nil || c.ObservedGeneration() != 3 || (Conditions{}).ObservedGeneration() != -1 {
		t.Error("Get or ObservedGeneration is wrong")
	}
}
