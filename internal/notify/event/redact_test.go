package event

import "testing"

func TestRedacted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"clone https://flux:s3cret@git.example/o/r: 401":             "clone https://*****@git.example/o/r: 401",
		"clone https://ghp_abc@git.example/o/r: 401":                 "clone https://*****@git.example/o/r: 401",
		"https://u:p@ss@host/x and https://tok@other":                "https://*****@host/x and https://*****@other",
		"ssh://git@git.example/o/r is not there":                     "ssh://git@git.example/o/r is not there",
		"https://git.example/users/me@example.com":                   "https://git.example/users/me@example.com",
		"GET https://b.example/x?sv=1&sig=abc%3D&se=2: 403":          "GET https://b.example/x?sv=1&sig=*****&se=2: 403",
		`Get "https://s3/x?X-Amz-Signature=abc&X-Amz-Date=1": x`:     `Get "https://s3/x?X-Amz-Signature=*****&X-Amz-Date=1": x`,
		"https://h/?access_token=abc and token=def, client_secret=g": "https://h/?access_token=***** and token=*****, client_secret=*****",
		"main@sha1:0123 for key=shard1, design=new":                  "main@sha1:0123 for key=shard1, design=new",
	} {
		e := &Event{Message: in, Metadata: map[string]string{"k": in}}
		out := e.Redacted()
		if out.Message != want || out.Metadata["k"] != want {
			t.Errorf("%q becomes %q and %q", in, out.Message, out.Metadata["k"])
		}
		if e.Message != in || e.Metadata["k"] != in {
			t.Error("the event that is delivered was changed")
		}
	}
}
