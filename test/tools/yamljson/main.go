// Command yamljson answers what kubectl's YAML parser makes of a document: an independent witness for
// Sluice's own reader and writer.
//
// Standard input holds one JSON array of strings, each a YAML document. Standard output gets one JSON
// array with, for each, {"json": TEXT} or {"error": MESSAGE}. The JSON stays text, so that the reader
// of the answer decides how numbers are compared.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

type answer struct {
	JSON  *string `json:"json,omitempty"`
	Error *string `json:"error,omitempty"`
}

func read(document string) (result answer) {
	converted, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		message := err.Error()
		return answer{Error: &message}
	}
	text := string(converted)
	return answer{JSON: &text}
}

func run() error {
	var documents []string
	if err := json.NewDecoder(os.Stdin).Decode(&documents); err != nil {
		return err
	}
	answers := make([]answer, len(documents))
	for i, document := range documents {
		answers[i] = read(document)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "yamljson:", err)
		os.Exit(1)
	}
}
