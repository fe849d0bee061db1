// The peer of `sluice run --once`: fetches one URL, transforms nothing, and leaves the tar.gz and a record
// of it on disk, durable. It has no manifests to read and starts no sandbox.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(path string, data []byte) {
	file, err := os.Create(path)
	check(err)
	_, err = file.Write(data)
	check(err)
	check(file.Sync())
	check(file.Close())
}

func main() {
	url, directory := os.Args[1], os.Args[2]
	response, err := http.Get(url)
	check(err)
	body, err := io.ReadAll(response.Body)
	check(err)
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	pack := tar.NewWriter(zip)
	check(pack.WriteHeader(&tar.Header{Name: "data", Mode: 0o644, Size: int64(len(body))}))
	_, err = pack.Write(body)
	check(err)
	check(pack.Close())
	check(zip.Close())
	check(os.MkdirAll(directory, 0o755))
	write(filepath.Join(directory, "artifact.tar.gz"), archive.Bytes())
	write(filepath.Join(directory, "status.yaml"), []byte(fmt.Sprintf("digest: sha256:%x\n", sha256.Sum256(archive.Bytes()))))
}
