// Command helper is what the tests run as a pod: it prints, serves its
// environment, fetches URLs, crashes and ignores signals as its arguments say.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	fmt.Println("started", strings.Join(os.Args, " "))
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "crash":
			os.Exit(3)
		case "end":
			os.Exit(0)
		case "orphan":
			// A grandchild that would outlive its parent.
			_ = exec.Command("sleep", "3600").Start()
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go serve()
	for range stop {
		fmt.Println("told to stop")
		if len(os.Args) < 2 || os.Args[1] != "stubborn" {
			return
		}
	}
}

func serve() {
	healthy := true
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !healthy {
			http.Error(w, "ill", http.StatusInternalServerError)
		}
	})
	http.HandleFunc("/fall-ill", func(http.ResponseWriter, *http.Request) { healthy = false })
	http.HandleFunc("/environment", func(w http.ResponseWriter, _ *http.Request) {
		env := map[string]string{}
		for _, entry := range os.Environ() {
			name, value, _ := strings.Cut(entry, "=")
			env[name] = value
		}
		_ = json.NewEncoder(w).Encode(env)
	})
	http.HandleFunc("/fetch", func(w http.ResponseWriter, r *http.Request) {
		response, err := http.Get(r.URL.Query().Get("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, response.Body)
	})
	http.HandleFunc("/print", func(_ http.ResponseWriter, r *http.Request) { fmt.Println(r.URL.Query().Get("line")) })
	address := net.JoinHostPort(os.Getenv("FLUX_BIND_HOST"), "8080")
	fmt.Fprintln(os.Stderr, http.ListenAndServe(address, nil))
	os.Exit(1)
}
