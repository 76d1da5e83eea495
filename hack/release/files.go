package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gitops-toolkit/flux/internal/cli"
	"github.com/gitops-toolkit/flux/internal/install"
	bundled "github.com/gitops-toolkit/flux/manifests"
	"github.com/gitops-toolkit/flux/manifests/monitoring"
)

// entry is a file of an archive.
type entry struct {
	name string
	mode int64
	data []byte
}

// packed is a tar.gz without times and owners.
func packed(entries []entry) ([]byte, error) {
	var b bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(zipped)
	for _, e := range entries {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.data)), Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(e.data); err != nil {
			return nil, err
		}
	}
	err = errors.Join(archive.Close(), zipped.Close())
	return b.Bytes(), err
}

// archive packs the command line as the platform expects it.
func (r *release) archive(system, arch string, program []byte) error {
	if system != "windows" {
		data, err := packed([]entry{{"flux", 0o755, program}})
		if err != nil {
			return err
		}
		return r.write(r.name(system+"_"+arch+".tar.gz"), data)
	}
	var b bytes.Buffer
	archive := zip.NewWriter(&b)
	w, err := archive.Create("flux.exe")
	if err != nil {
		return err
	}
	_, err = w.Write(program)
	if err = errors.Join(err, archive.Close()); err != nil {
		return err
	}
	return r.write(r.name(system+"_"+arch+".zip"), b.Bytes())
}

// manifests writes the whole installation, the base of it, and what monitors it.
func (r *release) manifests() error {
	options := install.Defaults(r.version)
	options.Components = append(options.Components, install.ExtraComponents...)
	objects, err := install.Build(bundled.Files(), options)
	if err != nil {
		return err
	}
	var whole, base bytes.Buffer
	if err := install.Write(&whole, objects, options); err != nil {
		return err
	}
	if err := install.Archive(&base, bundled.Files()); err != nil {
		return err
	}
	var watching bytes.Buffer
	if err := install.Archive(&watching, monitoring.Files()); err != nil {
		return err
	}
	return errors.Join(r.write("install.yaml", whole.Bytes()), r.write("manifests.tar.gz", base.Bytes()), r.write("monitoring.tar.gz", watching.Bytes()))
}

// schemas writes a JSON schema for each version of each kind, named as validators look for them:
// kustomization-kustomize-v1.json.
func (r *release) schemas() error {
	crds, err := bundled.CRDs()
	if err != nil {
		return err
	}
	var entries []entry
	for _, obj := range crds {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, crd); err != nil {
			return fmt.Errorf("%s: %w", obj.GetName(), err)
		}
		group, _, _ := strings.Cut(crd.Spec.Group, ".")
		for _, v := range crd.Spec.Versions {
			text, err := schema(v.Schema.OpenAPIV3Schema)
			if err != nil {
				return err
			}
			name := strings.ToLower(crd.Spec.Names.Kind) + "-" + group + "-" + v.Name + ".json"
			entries = append(entries, entry{"master-standalone-strict/" + name, 0o644, text})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	data, err := packed(entries)
	if err != nil {
		return err
	}
	return r.write("crd-schemas.tar.gz", data)
}

// schema refuses fields that it does not name, as the API server drops them.
func schema(props *apiextensionsv1.JSONSchemaProps) ([]byte, error) {
	text, err := json.Marshal(props)
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	strict(doc)
	doc["$schema"] = "http://json-schema.org/draft-07/schema#"
	return json.MarshalIndent(doc, "", "  ")
}

func strict(node map[string]any) {
	if properties, ok := node["properties"].(map[string]any); ok {
		_, open := node["additionalProperties"]
		keep, _ := node["x-kubernetes-preserve-unknown-fields"].(bool)
		if !open && !keep {
			node["additionalProperties"] = false
		}
		for _, p := range properties {
			if p, ok := p.(map[string]any); ok {
				strict(p)
			}
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if inner, ok := node[key].(map[string]any); ok {
			strict(inner)
		}
	}
}

// completions writes what shells read.
func (r *release) completions() error {
	var entries []entry
	for _, shell := range []string{"bash", "fish", "powershell", "zsh"} {
		var out, said bytes.Buffer
		if code := cli.Main(context.Background(), []string{"completion", shell}, strings.NewReader(""), &out, &said); code != 0 {
			return fmt.Errorf("completion %s: %s", shell, &said)
		}
		entries = append(entries, entry{"flux." + shell, 0o644, out.Bytes()})
	}
	data, err := packed(entries)
	if err != nil {
		return err
	}
	return r.write(r.name("completions.tar.gz"), data)
}

// script copies the installer.
func (r *release) script() error {
	text, err := os.ReadFile("install/flux.sh")
	if err != nil {
		return err
	}
	return r.write("install.sh", text)
}
