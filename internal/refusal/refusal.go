// Package refusal knows what API servers say when they refuse an object, and what to do about it.
//
// It reads messages, since that is where the server says what it means: types and reasons of its errors tell little more
// than that it refused. Advice is a table of patterns. Who wants to explain one more refusal adds a row.
package refusal

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// saying is a refusal that speaks for itself. In advice, $1 is what the message names.
type saying struct {
	pattern *regexp.Regexp
	advice  string
}

// policies are refusals of an object that is right in itself: the cluster does not want it.
var policies = sync.OnceValue(func() []saying {
	return []saying{
		{regexp.MustCompile(`failed calling webhook "([^"]+)"[^\n]*`), "the webhook $1 does not answer: mend the program that serves it, or set its failurePolicy to Ignore until it runs"},
		{regexp.MustCompile(`admission webhook "([^"]+)" denied the request[^\n]*`), "the webhook $1 does not accept the object: change the object as the message says, or the policy behind the webhook"},
		{regexp.MustCompile(`ValidatingAdmissionPolicy '([^']+)' with binding '[^']+' denied request[^\n]*`), "change the object as the message says, or the ValidatingAdmissionPolicy $1 or its binding"},
		{regexp.MustCompile(`violates PodSecurity "([^"]+)"[^\n]*`), "give the pod the securityContext that the message names, or the namespace a pod-security.kubernetes.io/enforce label that allows it"},
		{regexp.MustCompile(`exceeded quota: ([^,]+),[^\n]*`), "raise the ResourceQuota $1, or ask for less"},
		{regexp.MustCompile(`failed quota: ([^:]+): must specify[^\n]*`), "give every container the requests and limits that the ResourceQuota $1 counts, or add a LimitRange with defaults"},
		{regexp.MustCompile(`(?:maximum|minimum) (\S+) usage per (?:Container|Pod|PersistentVolumeClaim) is [^\n]*`), "keep to the LimitRange of the namespace for $1, or change it"},
		{regexp.MustCompile(`unable to create new content in namespace (\S+) because it is being terminated`), "the namespace $1 is being deleted: wait until it is gone"},
	}
})

// field is the path of a field as the server's schema check writes it, such as .spec.containers[name="app"].ports.
const field = `\.((?:[\w./~$-]+|\[[^\]\n]*\])+): `

// values are refusals of what an object says.
var values = sync.OnceValue(func() []saying {
	return []saying{
		{regexp.MustCompile(field + `expected numeric`), "write $1 as a number, without quotes"},
		{regexp.MustCompile(field + `expected boolean`), "write $1 as true or false, without quotes"},
		{regexp.MustCompile(field + `expected string`), "put the value of $1 in quotes, so that it is a string"},
		{regexp.MustCompile(field + `expected any scalar`), "write a single value for $1, no list and no map"},
		{regexp.MustCompile(field + `expected list`), `write $1 as a list, with "- " before each entry`},
		{regexp.MustCompile(field + `expected map`), "write $1 as a map of names and values"},
		{regexp.MustCompile(field + `duplicate entries for key (\[[^\]\n]*\])`), "keep one of the entries $2 of $1"},
		{regexp.MustCompile(field + `element \d+: associative list with keys has an element that omits all key fields (\[[^\]\n]*\])`), "give every entry of $1 what tells it from the others: $2"},
		{regexp.MustCompile(field + `field not declared in schema`), "correct or remove the field $1"},
		{regexp.MustCompile(`cannot unmarshal [^\n]* into Go struct field \w+\.(\S+) of type (\S+)`), "correct the field $1: its type is $2"},
		{regexp.MustCompile(`quantities must match the regular expression|unable to parse quantity's suffix`), "write quantities such as 500m or 2 for cpu, 64Mi or 1Gi for memory"},
		{regexp.MustCompile(`illegal base64 data at input byte`), "encode the values of data with base64, or write them as they are under stringData"},
		{regexp.MustCompile(`no PriorityClass with name (\S+) was found`), "add the PriorityClass $1, or correct priorityClassName"},
		{regexp.MustCompile(`error looking up service account \S+: serviceaccount "([^"]+)" not found`), "add the ServiceAccount $1, or correct serviceAccountName"},
		{regexp.MustCompile(`[Rr]equest entity too large|request is too large`), "split the object, or keep large content out of it"},
	}
})

// Policy is what stands in the way of an object that is right in itself.
type Policy struct {
	// Text is the part of the message that says so, Advice what to do about it.
	Text, Advice string
}

// Policies finds in a message what the cluster has against an object.
func Policies(message string) []Policy {
	var found []Policy
	for _, s := range policies() {
		if m := s.pattern.FindStringSubmatchIndex(message); m != nil {
			found = append(found, Policy{Text: message[m[0]:m[1]], Advice: s.expand(message, m)})
		}
	}
	return found
}

// maxAdvice is how much advice one message is worth.
const maxAdvice = 5

// Advice is what to do about a refusal, "" where the server's words have to do.
func Advice(message string) string {
	var advice []string
	for _, s := range slices.Concat(policies(), values()) {
		for _, m := range s.pattern.FindAllStringSubmatchIndex(message, -1) {
			if text := s.expand(message, m); len(advice) < maxAdvice && !slices.Contains(advice, text) {
				advice = append(advice, text)
			}
		}
	}
	return strings.Join(advice, "; ")
}

func (s saying) expand(message string, m []int) string {
	return string(s.pattern.ExpandString(nil, s.advice, message, m))
}

var granting = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(\S+) "([^"]+)" is forbidden: user "([^"]+)"(?: \([^)]*\))? is attempting to grant RBAC permissions not currently held`)
})

// Grant is the attempt of an account to give away rights that it does not have.
type Grant struct {
	// Resource and Name are the role or binding, User who tried.
	Resource, Name, User string
}

// Granting finds in a message the attempt to give away rights.
func Granting(message string) (Grant, bool) {
	m := granting().FindStringSubmatch(message)
	if m == nil {
		return Grant{}, false
	}
	return Grant{Resource: m[1], Name: m[2], User: m[3]}, true
}
