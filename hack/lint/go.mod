module github.com/gitops-toolkit/flux/hack/lint

go 1.26.0

require (
	golang.org/x/tools v0.44.1-0.20260420230617-19499e7caabc
	honnef.co/go/tools v0.8.1
)

require (
	github.com/BurntSushi/toml v1.6.0 // indirect
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/mod v0.35.0 // indirect
	golang.org/x/sync v0.20.0 // indirect
)
