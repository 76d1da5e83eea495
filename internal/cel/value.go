package cel

import (
	"context"
	"fmt"
	"reflect"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

// Value is a compiled expression that gives any value.
type Value struct {
	source  string
	program cel.Program
}

// CompileString compiles an expression over the named variables that gives a string.
func CompileString(source string, variables ...string) (*Value, error) {
	return compileValue(source, cel.StringType, variables)
}

// CompileAny compiles an expression over the named variables that gives any value.
func CompileAny(source string, variables ...string) (*Value, error) {
	return compileValue(source, nil, variables)
}

func compileValue(source string, want *cel.Type, variables []string) (*Value, error) {
	env, err := environment(variables)
	if err != nil {
		return nil, err
	}
	if len(source) > maxLength {
		return nil, fmt.Errorf("expression is %d bytes long, the limit is %d", len(source), maxLength)
	}
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, fmt.Errorf("failed to compile the CEL expression '%s': %w", source, issues.Err())
	}
	if t := checked.OutputType(); want != nil && !t.IsExactType(want) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("CEL expression '%s' must give a %s, it gives %s", source, want, t)
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost), cel.InterruptCheckFrequency(checkFrequency))
	if err != nil {
		return nil, fmt.Errorf("failed to plan the CEL expression '%s': %w", source, err)
	}
	return &Value{source: source, program: program}, nil
}

// String evaluates the expression to a string.
func (v *Value) String(ctx context.Context, variables map[string]any) (string, error) {
	out, err := v.Any(ctx, variables)
	if err != nil {
		return "", err
	}
	s, ok := out.(string)
	if !ok {
		return "", fmt.Errorf("failed to evaluate the CEL expression '%s': it gave %T instead of a string", v.source, out)
	}
	return s, nil
}

// Any evaluates the expression to a value of Go: maps and lists become map[string]any and []any.
func (v *Value) Any(ctx context.Context, variables map[string]any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, evalTimeout)
	defer cancel()
	out, _, err := v.program.ContextEval(ctx, variables)
	if err != nil {
		return nil, fmt.Errorf("failed to evaluate the CEL expression '%s': %w", v.source, err)
	}
	switch out.(type) {
	case types.String, types.Bool, types.Int, types.Uint, types.Double:
		return out.Value(), nil
	}
	if m, err := out.ConvertToNative(reflect.TypeFor[map[string]any]()); err == nil {
		return m, nil
	}
	if l, err := out.ConvertToNative(reflect.TypeFor[[]any]()); err == nil {
		return l, nil
	}
	return out.Value(), nil
}
