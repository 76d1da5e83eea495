# The words a person needs. Each does its own set-up; `make help` lists them.
SHELL := /bin/bash
# One way to compile for programs, tests and tools, so that the build cache serves them all: hack/image and hack/release
# too. Nobody debugs these programs, so the compiler does not write what a debugger would read.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -gcflags=all=-dwarf=false
VERSION ?= $(shell cat VERSION)
LDFLAGS := -s -w -X github.com/gitops-toolkit/flux/internal/version.Version=$(VERSION)

.PHONY: help build flux flux-sandbox demo test fuzz lint generate verify-generate bench image release clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

build: flux flux-sandbox ## leave flux, flux-controller and flux-sandbox in bin/

flux:
	@mkdir -p bin
	hack/go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/flux ./cmd/flux-controller

flux-sandbox:
	@mkdir -p bin
	@hack/sandbox-build.sh

demo: build ## from a Git repository to a live cluster, on this machine, in a few minutes
	@hack/demo.sh

test: ## lint, start one sandbox, run every test against it
	@hack/test.sh

fuzz: ## fuzz the parsers of what comes from outside, each for FUZZTIME (1m)
	@hack/fuzz.sh

lint: ## gofmt, go vet, staticcheck
	@hack/lint.sh

generate: ## deepcopy, CRDs, manifests, reference pages
	@hack/generate.sh
	@hack/generate-cli.sh

verify-generate: ## fail if what `make generate` writes is stale
	@hack/verify-generate.sh

bench: build ## print the budgets of the design beside what we measure
	@hack/bench.sh

image: ## write the container images, amd64 and arm64, as an OCI layout into dist/images; KEY=file signs them
	@go run ./hack/image -version '$(VERSION)' -out dist/images $(if $(KEY),-key '$(KEY)')

release: ## write what people download into dist/release; KEY=file signs it
	@go run ./hack/release -version '$(VERSION)' -out dist/release $(if $(KEY),-key '$(KEY)')

clean: ## remove what build leaves
	rm -rf bin dist
