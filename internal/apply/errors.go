package apply

import (
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Failure is one object that the server refused.
type Failure struct {
	Ref
	// Origin is the file of the object, empty when unknown.
	Origin string
	// Phase is "dry-run" or "apply".
	Phase string
	// Err is the server's answer.
	Err error
	// Hint is the next step for whoever reads the message, empty when there is none to give.
	Hint string
}

// line is the sentence of the tables for one failure.
func (f Failure) line() string {
	switch {
	case apierrors.IsNotFound(f.Err) && f.Namespace == "":
		return fmt.Sprintf("%s namespace not specified: %v", f.Subject(), f.Err)
	case apierrors.IsNotFound(f.Err):
		return fmt.Sprintf("%s not found: %v", f.Subject(), f.Err)
	case f.Phase == phaseApply:
		return fmt.Sprintf("%s apply failed: %v", f.Subject(), f.Err)
	}
	if reason := apierrors.ReasonForError(f.Err); reason != metav1.StatusReasonUnknown {
		return fmt.Sprintf("%s dry-run failed (%s): %v", f.Subject(), reason, f.Err)
	}
	return fmt.Sprintf("%s dry-run failed: %v", f.Subject(), f.Err)
}

const (
	phaseDryRun = "dry-run"
	phaseApply  = "apply"
)

// FailedError reports every object of a stage that the server refused. With nothing else wrong
// its first line is word for word what the tables give for that object; the file and the next
// step follow, indented, on lines of their own.
type FailedError struct {
	Failures []Failure
	// Completed are the created and configured objects of the stages before.
	Completed ChangeLog
}

// Error renders the failures, then a newline, then the changes of the completed stages.
func (e *FailedError) Error() string {
	var b strings.Builder
	for _, f := range e.Failures {
		b.WriteString(f.line())
		b.WriteByte('\n')
		if f.Origin != "" {
			fmt.Fprintf(&b, "  in %s\n", f.Origin)
		}
		if f.Hint != "" {
			fmt.Fprintf(&b, "  %s\n", f.Hint)
		}
	}
	b.WriteString(e.Completed.String())
	return b.String()
}

// Unwrap returns the server's answers.
func (e *FailedError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f.Err
	}
	return errs
}

// InterruptedError says that the context ended before the set was applied. Objects that were
// written before are in the Result.
type InterruptedError struct {
	// Cause is the context's cause.
	Cause error
	// Written counts the objects that were written before the end.
	Written int
	// Left counts the objects that were not reached.
	Left int
}

func (e *InterruptedError) Error() string {
	return fmt.Sprintf("apply interrupted after %d objects were written, %d not reached: %v", e.Written, e.Left, e.Cause)
}

// Unwrap returns the cause.
func (e *InterruptedError) Unwrap() error { return e.Cause }

// EncryptedSecretError says that an object still holds what SOPS encrypted.
type EncryptedSecretError struct {
	Ref
	Origin string
}

func (e *EncryptedSecretError) Error() string {
	text := e.Subject() + " is SOPS encrypted, configuring decryption is required for this secret to be reconciled"
	if e.Kind == "ConfigMap" {
		text += "; files of a configMapGenerator are not decrypted: use a secretGenerator"
	}
	return text
}

// StageError says that what a stage wrote did not become ready in time.
type StageError struct {
	// NotReady are the objects, each with its status.
	NotReady  []string
	Completed ChangeLog
}

func (e *StageError) Error() string {
	return fmt.Sprintf("timeout waiting for: [%s]\n%s", strings.Join(e.NotReady, ", "), e.Completed)
}

// PruneError lists the objects that could not be deleted.
type PruneError struct{ Errs []error }

func (e *PruneError) Error() string {
	var b strings.Builder
	b.WriteString("delete failed, errors: ")
	for _, err := range e.Errs {
		b.WriteString(err.Error())
		b.WriteByte(';')
	}
	return b.String()
}

// Unwrap returns the single errors.
func (e *PruneError) Unwrap() []error { return e.Errs }

// joinedErrors prints several errors on one line.
type joinedErrors []error

func joinLines(errs []error) error { return joinedErrors(errs) }

func (e joinedErrors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "; ")
}

func (e joinedErrors) Unwrap() []error { return e }
