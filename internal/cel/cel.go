// Package cel evaluates the CEL expressions that people write into objects: readiness of a
// dependency and health of a custom resource. Expressions come from tenants, so that each
// evaluation has a cost limit and ends with its context, and an expression has a limit on length.
//
// Environment: the strings, sets and encoders libraries, optional types, comparisons between
// numeric types, UTC as the default time zone.
package cel

import (
	"context"
	"fmt"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
)

const (
	maxLength      = 32 * 1024
	maxCost        = 1_000_000
	evalTimeout    = 2 * time.Second
	checkFrequency = 100
)

// Expression is a compiled expression that gives a bool.
type Expression struct {
	source  string
	program cel.Program
}

// Compile compiles an expression over the named variables, each of any type.
func Compile(source string, variables ...string) (*Expression, error) {
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
	return plan(env, checked, source)
}

// CompileObject compiles an expression whose variables are the top-level fields of an object,
// whichever it uses.
func CompileObject(source string) (*Expression, error) {
	env, err := environment(nil)
	if err != nil {
		return nil, err
	}
	if len(source) > maxLength {
		return nil, fmt.Errorf("expression is %d bytes long, the limit is %d", len(source), maxLength)
	}
	parsed, issues := env.Parse(source)
	if issues.Err() != nil {
		return nil, fmt.Errorf("failed to parse the CEL expression '%s': %w", source, issues.Err())
	}
	return Compile(source, freeNames(parsed.NativeRep().Expr())...)
}

func environment(variables []string) (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.EagerlyValidateDeclarations(true),
		ext.Strings(), ext.Sets(), ext.Encoders(),
	}
	for _, v := range variables {
		opts = append(opts, cel.Variable(v, cel.DynType))
	}
	return cel.NewEnv(opts...)
}

func plan(env *cel.Env, checked *cel.Ast, source string) (*Expression, error) {
	// A field of an object has no type before it is evaluated; Eval checks it then.
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("CEL expression '%s' must give a bool, it gives %s", source, t)
	}
	program, err := env.Program(checked,
		cel.EvalOptions(cel.OptOptimize),
		cel.CostLimit(maxCost),
		cel.InterruptCheckFrequency(checkFrequency),
	)
	if err != nil {
		return nil, fmt.Errorf("failed to plan the CEL expression '%s': %w", source, err)
	}
	return &Expression{source: source, program: program}, nil
}

// Eval evaluates the expression. The error is about the values (a field that is missing, a type
// that does not fit), the cost limit or the end of the context.
func (e *Expression) Eval(ctx context.Context, variables map[string]any) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, evalTimeout)
	defer cancel()
	out, _, err := e.program.ContextEval(ctx, variables)
	if err != nil {
		return false, fmt.Errorf("failed to evaluate the CEL expression '%s': %w", e.source, err)
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("failed to evaluate the CEL expression '%s': it gave %s instead of a bool", e.source, out.Type())
	}
	return bool(b), nil
}

// ReadyExpr is a dependency's readiness expression over self (who depends) and dep.
type ReadyExpr struct{ expr *Expression }

// CompileReady compiles a readyExpr.
func CompileReady(source string) (*ReadyExpr, error) {
	e, err := Compile(source, "self", "dep")
	if err != nil {
		return nil, err
	}
	return &ReadyExpr{expr: e}, nil
}

// Eval evaluates the expression over two whole objects.
func (r *ReadyExpr) Eval(ctx context.Context, self, dep map[string]any) (bool, error) {
	return r.expr.Eval(ctx, map[string]any{"self": self, "dep": dep})
}

// freeNames lists the identifiers of an expression that are not bound by one of its macros.
func freeNames(root ast.Expr) []string {
	seen := map[string]bool{}
	var names []string
	var walk func(e ast.Expr, bound map[string]bool)
	walk = func(e ast.Expr, bound map[string]bool) {
		switch e.Kind() {
		case ast.IdentKind:
			if n := e.AsIdent(); !bound[n] && !seen[n] && !reserved[n] {
				seen[n] = true
				names = append(names, n)
			}
		case ast.ComprehensionKind:
			c := e.AsComprehension()
			walk(c.IterRange(), bound)
			walk(c.AccuInit(), bound)
			inner := withNames(bound, c.IterVar(), c.IterVar2(), c.AccuVar())
			walk(c.LoopCondition(), inner)
			walk(c.LoopStep(), inner)
			walk(c.Result(), withNames(bound, c.AccuVar()))
		default:
			for _, child := range children(e) {
				walk(child, bound)
			}
		}
	}
	walk(root, nil)
	return names
}

// reserved are the identifiers that name types; they are no variables.
var reserved = map[string]bool{
	"bool": true, "bytes": true, "double": true, "dyn": true, "int": true, "list": true, "map": true,
	"null_type": true, "string": true, "timestamp": true, "duration": true, "type": true, "uint": true,
	"optional": true, "sets": true, "base64": true, "strings": true, "math": true, "google": true, "cel": true,
}

func withNames(bound map[string]bool, names ...string) map[string]bool {
	out := make(map[string]bool, len(bound)+len(names))
	for n := range bound {
		out[n] = true
	}
	for _, n := range names {
		out[n] = true
	}
	return out
}

func children(e ast.Expr) []ast.Expr {
	switch e.Kind() {
	case ast.CallKind:
		c := e.AsCall()
		if c.IsMemberFunction() {
			return append([]ast.Expr{c.Target()}, c.Args()...)
		}
		return c.Args()
	case ast.SelectKind:
		return []ast.Expr{e.AsSelect().Operand()}
	case ast.ListKind:
		return e.AsList().Elements()
	case ast.MapKind:
		var out []ast.Expr
		for _, en := range e.AsMap().Entries() {
			out = append(out, en.AsMapEntry().Key(), en.AsMapEntry().Value())
		}
		return out
	case ast.StructKind:
		var out []ast.Expr
		for _, f := range e.AsStruct().Fields() {
			out = append(out, f.AsStructField().Value())
		}
		return out
	}
	return nil
}
