// What the benchmark of the controller needs beside it, with nothing but the standard library:
//
//	kube upstream DELAY        serves a small document, each answer after DELAY; /requests counts them
//	kube create N URL          makes N ExternalSources
//	kube delete                removes them with their finalizers, and their ExternalArtifacts
//	kube observe N             waits by one watch until N are Ready
//	kube bare N                the peer: the same four writes for each of N sources, 32 in flight, and
//	                           waits by one watch until N are Ready; prints the seconds that it took
//
// The cluster is in the environment: SERVER, CA, CERT, KEY.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	namespace = "default"
	inFlight  = 32
	sources   = "/apis/source.flux.oddkin.co/v1alpha1/namespaces/" + namespace + "/externalsources"
	children  = "/apis/source.toolkit.fluxcd.io/v1/namespaces/" + namespace + "/externalartifacts"
	apply     = "?fieldManager=externalsource-controller&force=true"
	applyType = "application/apply-patch+yaml"
	mergeType = "application/merge-patch+json"
)

type object = map[string]interface{}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "kube:", err)
		os.Exit(1)
	}
}

func client() *http.Client {
	ca, err := os.ReadFile(os.Getenv("CA"))
	check(err)
	pair, err := tls.LoadX509KeyPair(os.Getenv("CERT"), os.Getenv("KEY"))
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
	}}
}

func send(http_ *http.Client, method, path, contentType string, body object) (object, error) {
	text, err := json.Marshal(body)
	check(err)
	request, err := http.NewRequest(method, os.Getenv("SERVER")+path, bytes.NewReader(text))
	check(err)
	request.Header.Set("Content-Type", contentType)
	response, err := http_.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, answer)
	}
	var parsed object
	if err == nil {
		err = json.Unmarshal(answer, &parsed)
	}
	return parsed, err
}

func name(i int) string { return fmt.Sprintf("source-%05d", i) }

// each calls f for 0 to n-1, 32 at once.
func each(n int, f func(i int) error) {
	var next int64 = -1
	var wait sync.WaitGroup
	for w := 0; w < inFlight; w++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := atomic.AddInt64(&next, 1); i < int64(n); i = atomic.AddInt64(&next, 1) {
				check(f(int(i)))
			}
		}()
	}
	wait.Wait()
}

func create(n int, url string) {
	c := client()
	each(n, func(i int) error {
		_, err := send(c, "POST", sources, "application/json", object{
			"apiVersion": "source.flux.oddkin.co/v1alpha1", "kind": "ExternalSource",
			"metadata": object{"name": name(i)},
			"spec": object{"interval": "10m", "destinationPath": "data.json",
				"generator": object{"type": "http", "http": object{"url": fmt.Sprintf("%s/%d", url, i)}}},
		})
		return err
	})
}

func list(c *http.Client, path string) []interface{} {
	answer, err := send(c, "GET", path, "application/json", nil)
	check(err)
	items, _ := answer["items"].([]interface{})
	return items
}

func deleteAll() {
	c := client()
	for _, path := range []string{sources, children} {
		items := list(c, path)
		each(len(items), func(i int) error {
			metadata := items[i].(object)["metadata"].(object)
			one := path + "/" + metadata["name"].(string)
			// The garbage collector may be faster.
			_, err := send(c, "PATCH", one, mergeType, object{"metadata": object{"finalizers": nil}})
			if err == nil {
				_, err = send(c, "DELETE", one, "application/json", nil)
			}
			if err != nil && strings.Contains(err.Error(), ": 404 ") {
				err = nil
			}
			return err
		})
	}
}

func isReady(source object) bool {
	status, _ := source["status"].(object)
	conditions, _ := status["conditions"].([]interface{})
	for _, item := range conditions {
		condition := item.(object)
		if condition["type"] == "Ready" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

// watch tells on the channel when n sources are Ready.
func watch(n int) (opened, ready chan struct{}) {
	opened, ready = make(chan struct{}), make(chan struct{})
	go func() {
		response, err := client().Get(os.Getenv("SERVER") + sources + "?watch=true")
		check(err)
		close(opened)
		seen := map[string]bool{}
		lines := bufio.NewReaderSize(response.Body, 1<<20)
		for len(seen) < n {
			line, err := lines.ReadBytes('\n')
			check(err)
			var event struct {
				Type   string
				Object object
			}
			check(json.Unmarshal(line, &event))
			if isReady(event.Object) {
				seen[event.Object["metadata"].(object)["name"].(string)] = true
			}
		}
		close(ready)
	}()
	return
}

// write makes the four writes that bring one source to Ready.
func write(c *http.Client, i int, revision string) error {
	one, child := sources+"/"+name(i), children+"/"+name(i)
	now := time.Now().UTC().Format(time.RFC3339)
	found, err := send(c, "PATCH", one, mergeType,
		object{"metadata": object{"finalizers": []string{"source.flux.oddkin.co/externalsource-finalizer"}}})
	if err != nil {
		return err
	}
	metadata := found["metadata"].(object)
	head := func(more object) object {
		body := object{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact"}
		for key, value := range more {
			body[key] = value
		}
		return body
	}
	condition := object{"type": "Ready", "status": "True", "reason": "Succeeded", "observedGeneration": 1,
		"lastTransitionTime": now, "message": "stored artifact for revision '" + revision + "'"}
	artifact := object{"path": "artifacts/default/" + name(i) + "/x.tar.gz", "size": 200, "lastUpdateTime": now,
		"url": "http://127.0.0.1:8080/artifacts/default/" + name(i) + "/x.tar.gz", "revision": revision,
		"digest": "sha256:" + revision[len("latest@sha256:"):]}
	if _, err = send(c, "PATCH", child+apply, applyType, head(object{
		"metadata": object{"name": name(i), "namespace": namespace,
			"labels": object{"app.kubernetes.io/managed-by": "externalsource-controller"},
			"ownerReferences": []object{{"apiVersion": "source.flux.oddkin.co/v1alpha1", "kind": "ExternalSource",
				"name": name(i), "uid": metadata["uid"], "controller": true, "blockOwnerDeletion": true}}},
		"spec": object{"sourceRef": object{"apiVersion": "source.flux.oddkin.co/v1alpha1", "kind": "ExternalSource",
			"name": name(i), "namespace": namespace}}})); err != nil {
		return err
	}
	if _, err = send(c, "PATCH", child+"/status"+apply, applyType, head(object{
		"metadata": object{"name": name(i), "namespace": namespace},
		"status":   object{"artifact": artifact, "conditions": []object{condition}}})); err != nil {
		return err
	}
	_, err = send(c, "PATCH", one+"/status", mergeType, object{
		"metadata": object{"resourceVersion": metadata["resourceVersion"]},
		"status": object{"observedGeneration": 1, "conditions": []object{condition}, "artifact": artifact,
			"lastHandledETag": "x"}})
	return err
}

func bare(n int) {
	opened, ready := watch(n)
	<-opened
	c := client()
	revision := fmt.Sprintf("latest@sha256:%064x", 1)
	begin := time.Now()
	each(n, func(i int) error { return write(c, i, revision) })
	<-ready
	fmt.Printf("%.3f\n", time.Since(begin).Seconds())
}

func observe(n int) {
	opened, ready := watch(n)
	<-opened
	fmt.Println("watching")
	<-ready
	fmt.Println("ready")
}

func upstream(delay time.Duration) {
	var requests int64
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Printf("http://%s\n", listener.Addr())
	check(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/requests" {
			fmt.Fprintf(w, "%d", atomic.SwapInt64(&requests, 0))
			return
		}
		atomic.AddInt64(&requests, 1)
		time.Sleep(delay)
		etag := `"` + r.URL.Path + `"`
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprintf(w, `{"path": %q, "value": 1}`, r.URL.Path)
	})))
}

func main() {
	number := func(at int) int {
		n, err := strconv.Atoi(os.Args[at])
		check(err)
		return n
	}
	switch os.Args[1] {
	case "upstream":
		delay, err := time.ParseDuration(os.Args[2])
		check(err)
		upstream(delay)
	case "create":
		create(number(2), os.Args[3])
	case "delete":
		deleteAll()
	case "observe":
		observe(number(2))
	case "bare":
		bare(number(2))
	}
}
