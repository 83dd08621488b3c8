// Command referrers-registry is a small OCI registry that serves the referrers API.
//
// Without -data everything is in memory. With it, blobs lie in that folder, and a journal beside
// them replays the manifests at the next start, because the library keeps those in memory only.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// change is one accepted PUT or DELETE of a manifest.
type change struct {
	Method, Path, Type string
	Body               []byte
}

// recorder answers as the registry does and writes each accepted change down.
type recorder struct {
	next    http.Handler
	journal *json.Encoder
}

func (r recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	changes := q.Method == http.MethodPut || q.Method == http.MethodDelete
	if !changes || !strings.Contains(q.URL.Path, "/manifests/") {
		r.next.ServeHTTP(w, q)
		return
	}
	body, err := io.ReadAll(io.LimitReader(q.Body, 8<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	r.next.ServeHTTP(answer, q)
	if answer.Code < 300 {
		entry := change{q.Method, q.URL.Path, q.Header.Get("Content-Type"), body}
		if err := r.journal.Encode(entry); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// replay makes the changes of an earlier run again; a torn last line was never answered.
func replay(path string, handler http.Handler) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer file.Close()
	for decoder := json.NewDecoder(file); ; {
		var entry change
		if err := decoder.Decode(&entry); err != nil {
			return nil
		}
		q := httptest.NewRequest(entry.Method, entry.Path, bytes.NewReader(entry.Body))
		q.Header.Set("Content-Type", entry.Type)
		handler.ServeHTTP(httptest.NewRecorder(), q)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "loopback address and port to serve on")
	data := flag.String("data", "", "folder that keeps the content; in memory when empty")
	flag.Parse()

	options := []registry.Option{registry.WithReferrersSupport(true)}
	if *data != "" {
		blobs := filepath.Join(*data, "blobs")
		options = append(options, registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs)))
	}
	handler := registry.New(options...)
	if *data != "" {
		path := filepath.Join(*data, "manifests.jsonl")
		if err := replay(path, handler); err != nil {
			return err
		}
		journal, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer journal.Close()
		handler = recorder{handler, json.NewEncoder(journal)}
	}

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if address, ok := listener.Addr().(*net.TCPAddr); !ok || !address.IP.IsLoopback() {
		return errors.New("refusing to listen on anything but loopback")
	}
	log.Print("listening on ", listener.Addr())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	return server.Serve(listener)
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
