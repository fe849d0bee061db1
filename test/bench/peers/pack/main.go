// The peer of `./dev bench pack`: what a controller in Go does with the same input, by the standard
// library alone: archive/tar into compress/gzip at its default level, with the sha256 of the tar and of
// the tar.gz taken on the way.
//
//	pack INPUT OUTPUT
package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"
)

// peak is the peak memory in KiB.
func peak() string {
	status, _ := os.ReadFile("/proc/self/status")
	match := regexp.MustCompile(`VmHWM:\s*(\d+)`).FindSubmatch(status)
	if match == nil {
		return "0"
	}
	return string(match[1])
}

func pack(input, output string) error {
	in, err := os.Open(input)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(output)
	if err != nil {
		return err
	}
	defer out.Close()

	start := time.Now()
	revision, digest := sha256.New(), sha256.New()
	compressed := gzip.NewWriter(io.MultiWriter(out, digest))
	archive := tar.NewWriter(io.MultiWriter(compressed, revision))
	header := &tar.Header{Name: "data.json", Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.Copy(archive, in); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if err := compressed.Close(); err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()

	size, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	fmt.Printf("%.6f %s %d %x %x\n", seconds, peak(), size, revision.Sum(nil), digest.Sum(nil))
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack INPUT OUTPUT")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}
