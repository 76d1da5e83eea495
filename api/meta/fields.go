package meta

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// FieldErrors returns what cannot be understood in the spec of an object, nil if all can: one
// error for each duration that makes no sense, with its path. The kernel reports it on the
// object instead of reconciling it.
func FieldErrors(obj any) error {
	v := reflect.Indirect(reflect.ValueOf(obj))
	if v.Kind() != reflect.Struct {
		return nil
	}
	spec := v.FieldByName("Spec")
	if !spec.IsValid() {
		return nil
	}
	var errs []error
	collectFieldErrors("spec", spec, &errs)
	return errors.Join(errs...)
}

type fallible interface{ Err() error }

func collectFieldErrors(path string, v reflect.Value, errs *[]error) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			collectFieldErrors(path, v.Elem(), errs)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			collectFieldErrors(fmt.Sprintf("%s[%d]", path, i), v.Index(i), errs)
		}
	case reflect.Struct:
		collectStructErrors(path, v, errs)
	}
}

func collectStructErrors(path string, v reflect.Value, errs *[]error) {
	if v.CanAddr() {
		if f, ok := v.Addr().Interface().(fallible); ok {
			if err := f.Err(); err != nil {
				*errs = append(*errs, fmt.Errorf("%s: %w", path, err))
			}
			return
		}
	}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			name = field.Name
		}
		collectFieldErrors(path+"."+name, v.Field(i), errs)
	}
}
