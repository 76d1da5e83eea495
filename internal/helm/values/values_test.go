package values_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/helm/values"
)

var objects = map[string]values.Object{
	"ConfigMap/first":  {"values.yaml": []byte("a: 1\nm: {x: 1, k: 1}\nlist: [1, 2]\n"), "bad": []byte("[not a map")},
	"ConfigMap/second": {"values.yaml": []byte("m: {k: 2}\nlist: [3]\n")},
	"Secret/single": {
		"plain": []byte("text"), "number": []byte("5"), "quoted": []byte(`"5"`), "list": []byte("{a,b}"), "commas": []byte("a,b=c"),
		"odd": []byte(`{a: "b, c"}\.[0]=x`), "empty": []byte(""), "bad": []byte("secret: [words"),
	},
}

var reads int

func read(kind, _, name string) (values.Object, error) {
	reads++
	if o, ok := objects[kind+"/"+name]; ok {
		return o, nil
	}
	return nil, values.ErrNotFound
}

func TestCompose(t *testing.T) {
	doc := func(name string) values.Reference {
		return values.Reference{Kind: "ConfigMap", Namespace: "ns", Name: name}
	}
	single := func(key, path string) values.Reference {
		return values.Reference{Kind: "Secret", Namespace: "ns", Name: "single", Key: key, TargetPath: path}
	}
	literal := func(key, path string) values.Reference {
		r := single(key, path)
		r.Literal = true
		return r
	}
	optional := func(r values.Reference) values.Reference { r.Optional = true; return r }
	for reason, c := range map[string]struct {
		refs         []values.Reference
		inline, want string
	}{
		"nothing":                              {nil, `{}`, `{}`},
		"later documents win, maps are merged": {[]values.Reference{doc("first"), doc("second")}, `{}`, `{"a":1,"list":[3],"m":{"k":2,"x":1}}`},
		"inline wins over documents":           {[]values.Reference{doc("first")}, `{"a":2,"m":{"z":3}}`, `{"a":2,"list":[1,2],"m":{"k":1,"x":1,"z":3}}`},
		"a path wins over inline":              {[]values.Reference{single("plain", "a")}, `{"a":2}`, `{"a":"text"}`},
		"a path wins over later documents":     {[]values.Reference{single("plain", "m.k"), doc("second")}, `{}`, `{"list":[3],"m":{"k":"text"}}`},
		"types are read as by --set":           {[]values.Reference{single("number", "n")}, `{}`, `{"n":5}`},
		"quotes force a string":                {[]values.Reference{single("quoted", "n")}, `{}`, `{"n":"5"}`},
		"braces make a list":                   {[]values.Reference{single("list", "l")}, `{}`, `{"l":["a","b"]}`},
		"a comma begins another assignment":    {[]values.Reference{single("commas", "x")}, `{}`, `{"b":"c","x":"a"}`},
		"a literal is taken as it is":          {[]values.Reference{literal("odd", "x")}, `{}`, `{"x":"{a: \"b, c\"}\\.[0]=x"}`},
		"a literal may be empty":               {[]values.Reference{literal("empty", "x")}, `{}`, `{"x":""}`},
		"dots in a path can be escaped":        {[]values.Reference{literal("plain", `x.a\.b`)}, `{}`, `{"x":{"a.b":"text"}}`},
		"an index keeps the other items":       {[]values.Reference{single("plain", "x[0]")}, `{"x":["list","item","option"]}`, `{"x":["text","item","option"]}`},
		"optional object and key":              {[]values.Reference{optional(doc("absent")), optional(single("absent", "x"))}, `{"a":1}`, `{"a":1}`},
	} {
		inline := map[string]any{}
		if err := json.Unmarshal([]byte(c.inline), &inline); err != nil {
			t.Fatal(err)
		}
		got, _, err := values.Compose(c.refs, inline, read)
		if err != nil {
			t.Errorf("%s: %v", reason, err)
			continue
		}
		if text, _ := json.Marshal(got); string(text) != c.want {
			t.Errorf("%s: %s, want %s", reason, text, c.want)
		}
		if text, _ := json.Marshal(inline); string(text) != c.inline {
			t.Errorf("%s: the inline values were changed to %s", reason, text)
		}
	}
	reads = 0
	if _, _, err := values.Compose([]values.Reference{doc("first"), doc("first"), single("plain", "a"), single("number", "b")}, nil, read); err != nil || reads != 2 {
		t.Errorf("two objects were read %d times, %v", reads, err)
	}
}

func TestErrorsSayWhereAndNoSecrets(t *testing.T) {
	for want, ref := range map[string]values.Reference{
		"could not resolve ConfigMap chart values reference 'ns/absent' with key 'values.yaml': resource not found": {Kind: "ConfigMap", Namespace: "ns", Name: "absent"},
		"could not resolve ConfigMap chart values reference 'ns/first' with key 'k': key not found":                 {Kind: "ConfigMap", Namespace: "ns", Name: "first", Key: "k"},
		"could not resolve ConfigMap chart values reference 'ns/first' with key 'bad': failed to read values data":  {Kind: "ConfigMap", Namespace: "ns", Name: "first", Key: "bad"},
		"could not resolve Secret chart values reference 'ns/single' with key 'bad': failed to read values data":    {Kind: "Secret", Namespace: "ns", Name: "single", Key: "bad"},
		"could not resolve Thing chart values reference 'ns/x' with key 'values.yaml': unsupported":                 {Kind: "Thing", Namespace: "ns", Name: "x"},
	} {
		_, _, err := values.Compose([]values.Reference{ref}, nil, read)
		var resolved *values.Error
		if !errors.As(err, &resolved) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret:") {
			t.Errorf("the error quotes a Secret: %v", err)
		}
	}
}

func TestDigest(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		// The digests that upstream wrote for these values.
		`{"message":"second"}`: "sha256:d471efa2e8b66f15617299b0d183457ec8d76838f401ca17d6d83657f64da866",
		`{"replicas":1}`:       "sha256:64c510504df97ba5ad76d9dab24c7550b4b53a6d31adc47a75e6efbe8851ae8c",
		`{"broken":true}`:      "sha256:23fe61cd680625aaeb8968ee81dcaf6daf36e30f0bf86506319a644185f4c4ee",
	} {
		v := map[string]any{}
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if got, err := values.Digest("sha256", v); err != nil || got.String() != want {
			t.Errorf("%s: %s %v, want %s", text, got, err, want)
		}
		if !values.Verify(want, v) || values.Verify(want, map[string]any{"other": 1}) {
			t.Errorf("%s: the digest is not told from another", text)
		}
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("a.b[0]", "value", "x: 1", false)
	f.Add(`a\.b`, "{a,b}", "[", true)
	f.Fuzz(func(_ *testing.T, path, value, document string, literal bool) {
		o := values.Object{"single": []byte(value), "values.yaml": []byte(document)}
		refs := []values.Reference{{Kind: "Secret", Name: "s"}, {Kind: "Secret", Name: "s", Key: "single", TargetPath: path, Literal: literal}}
		_, _, _ = values.Compose(refs, map[string]any{"a": map[string]any{"b": []any{1}}}, func(string, string, string) (values.Object, error) { return o, nil })
	})
}

func TestWithin(t *testing.T) {
	t.Parallel()
	have := map[string]any{"a": float64(1), "b": map[string]any{"c": "x", "d": []any{"y"}}}
	for text, want := range map[string]bool{
		`{}`: true, `{"a":1}`: true, `{"b":{"c":"x"}}`: true, `{"n":null}`: true, `{"b":{"d":["y"]}}`: true,
		`{"a":2}`: false, `{"a":null}`: false, `{"b":{"d":["y","z"]}}`: false, `{"n":1}`: false, `{"a":{"c":1}}`: false,
	} {
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if got := values.Within(v, have); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
	if !values.Within(map[string]any{"a": int64(1)}, have) {
		t.Error("numbers of other types differ")
	}
}
